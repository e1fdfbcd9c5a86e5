"""Files: written whole or not at all, locked, and read back as typed, bounded values."""
