"""Tests of `dragon score`."""
