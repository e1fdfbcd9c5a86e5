"""Tests of `dragon doctor`, and of the refusals that rest on what it looks at."""
