"""Measure where the time of a step goes, phase by phase."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.devices import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PHASES = ("sampling", "decoding", "encoding", "selecting", "learning", "comparing")


class Clock:
    """A timer that adds up seconds by phase; it waits for an accelerator, so that a phase pays for its own work.

    Only the thread that made the clock counts: work beside it costs what it is waited for.

    Attributes:
        device: the device that is waited for.
        seconds: the seconds of each phase since the last row.
        thread: the thread that counts.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.thread = get_ident()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the block as this phase."""
        if get_ident() != self.thread:
            yield
            return
        started = self.now()
        try:
            yield
        finally:
            self.seconds[name] += self.now() - started

    def now(self) -> float:
        """Return the time in seconds, after all work that this thread gave to the device."""
        if self.device.type == "cuda":  # other threads' streams go on
            torch.cuda.current_stream(self.device).synchronize()
        else:
            wait_for(self.device)
        return monotonic()

    def row(self) -> dict[str, float]:
        """Return the seconds of every phase since the last row, and start again from 0."""
        row = {f"{phase}_s": self.seconds[phase] for phase in PHASES}
        self.seconds.clear()
        return row
