"""Clips of audio and images: they are found, read, resampled, measured, encoded and cached here."""
