"""The registry of real small parts that `dragon score` is tested with, where exported rewards look for it."""

from __future__ import annotations

from cli_score.conftest import encoder

__all__ = ["encoder"]
