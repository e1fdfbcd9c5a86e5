"""Tests of audio files, sets of clips and the weights-free encoders."""
