"""Tests of `dragon rank`."""
