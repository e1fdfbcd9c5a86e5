"""Tests of how audio files are read ahead, and encoded in batches."""
