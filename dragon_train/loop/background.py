"""Work beside other work: a GPU decodes and encodes some clips while it samples the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class BackgroundWorker:
    """A worker that does what it is given, in order: on a GPU in a thread with its own stream, on a CPU at once.

    On a CPU, what samples has all cores already.
    """

    def __init__(self, device: torch.device, *, threaded: bool | None = None) -> None:
        """Start a worker on `device`; `threaded` says otherwise than the device would."""
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        threaded = self.stream is not None if threaded is None else threaded
        chosen = () if self.stream is None else (torch.cuda.set_device, (device,))  # a thread begins on the first card
        self.thread = ThreadPoolExecutor(1, "aside", *chosen) if threaded else None

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begin `work`, after what this thread gave the GPU so far; return a function that waits for its result."""
        if self.thread is None:
            result = work()
            return lambda: result
        if self.stream is None:
            return self.thread.submit(work).result
        ready = torch.cuda.current_stream(self.stream.device).record_event()
        return self.thread.submit(self._on_stream, self.stream, ready, work).result

    @staticmethod
    def _on_stream(stream: torch.cuda.Stream, ready: torch.cuda.Event, work: Callable[[], T]) -> T:
        with torch.cuda.stream(stream):
            stream.wait_event(ready)
            result = work()
        stream.synchronize()  # so that the result may be used on any stream
        return result
