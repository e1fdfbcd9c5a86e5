"""Tests of the registry with packages that pip installed."""
