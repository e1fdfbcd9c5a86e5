"""The registry of real small parts that `dragon score` is tested with."""

from __future__ import annotations

from support.registries import encoder

__all__ = ["encoder"]
