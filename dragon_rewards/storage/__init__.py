"""Files on disk: written whole or not at all, locked against other processes, read back as typed, bounded values."""
