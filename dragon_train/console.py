"""What commands show on stderr while they work."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def leads() -> bool:
    """Whether this is the only process of a run, or the first of those that a launcher started."""
    return int(os.environ.get("RANK", "0")) == 0


def is_alone() -> bool:
    """Whether this process trains by itself, and not as one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def progress() -> Progress:
    """A bar on stderr, so that stdout stays for results."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=not leads())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=console)
