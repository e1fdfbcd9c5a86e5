"""Which of the processes of a run this is."""

from __future__ import annotations

import os

from dragon_rewards.terminal.progress import leads

__all__ = ["is_alone", "leads"]


def is_alone() -> bool:
    """Whether this process trains by itself, and not as one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1
