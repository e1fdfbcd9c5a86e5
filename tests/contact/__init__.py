"""Tests of what somebody meets first: options, tables, progress, completion, refusals."""
