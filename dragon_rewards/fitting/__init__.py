"""Fitting of rewards to ratings of one's own: the table of ratings, cross-validation, and the head that comes of it."""
