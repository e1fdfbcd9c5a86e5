"""Ablations: declarative grids of tuning runs or of studies without training, with their tables and figures."""
