"""The registry of real small parts that `dragon score` is tested with, where exported rewards look for it."""

from __future__ import annotations

from support.registries import encoder

__all__ = ["encoder"]
