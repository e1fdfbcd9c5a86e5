"""Encoders that need no weights."""
