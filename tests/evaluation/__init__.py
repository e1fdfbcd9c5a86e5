"""Tests of win rates, tables and results on disk."""
