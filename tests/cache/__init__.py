"""Tests of the embedding cache."""
