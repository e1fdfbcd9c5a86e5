"""The registry of real small parts that `dragon score` is tested with."""

from __future__ import annotations

from cli_score.conftest import encoder

__all__ = ["encoder"]
