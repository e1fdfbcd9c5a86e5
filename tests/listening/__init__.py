"""Tests of the listening test."""
