"""Packages to begin a plugin with: their kinds, the names that they may have, and the templates that they are of."""
