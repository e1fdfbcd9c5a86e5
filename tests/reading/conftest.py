"""The command line with a folder of sets for each test."""

from support.user_sets import dragon, refused, rows, sets

__all__ = ["dragon", "refused", "rows", "sets"]
