"""The registry of real small parts behind `dragon score`."""

from __future__ import annotations

from support.registries import encoder

__all__ = ["encoder"]
