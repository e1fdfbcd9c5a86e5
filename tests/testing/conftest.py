"""Plugins are installed as the registry's tests install them."""

from registry.conftest import site

__all__ = ["site"]
