"""The command line with a folder of sets for each test."""

from exemplars.conftest import dragon, refused, rows, sets

__all__ = ["dragon", "refused", "rows", "sets"]
