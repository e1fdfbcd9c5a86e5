"""Tell which of the processes of a run this is, without torch."""

from __future__ import annotations

import os

from dragon_rewards.terminal.progress import leads

__all__ = ["is_alone", "leads"]


def is_alone() -> bool:
    """Return whether this process trains by itself, and not as one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1
