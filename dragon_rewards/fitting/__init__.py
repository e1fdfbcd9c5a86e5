"""Fitting of rewards to ratings or preferences of one's own: tables, cross-validation, and the head."""
