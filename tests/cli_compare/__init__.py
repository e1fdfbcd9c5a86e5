"""Tests of `dragon compare`."""
