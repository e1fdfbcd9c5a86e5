"""Tests of rewards in the forms of other trainers."""
