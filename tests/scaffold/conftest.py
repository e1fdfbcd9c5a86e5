"""A folder to install plugins into."""

from support.registries import site

__all__ = ["site"]
