"""Encoders that need no weights, and what all encoders of text share."""
