"""Clips of audio and images: found, read, resampled, measured, encoded and cached."""
