"""What the three training scripts share: clips, learning-rate schedule, averaged weights, a log."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

AVERAGE_AFTER, DECAY = 200, 0.998


def load_clips(work: Path, split: str) -> tuple[Any, list[dict[str, Any]]]:
    """The int16 clips of a split (memory-mapped) and a row per clip."""
    rows = [json.loads(line) for line in (work / f"{split}.jsonl").read_text().splitlines()]
    return np.load(work / f"{split}.npy", mmap_mode="r"), rows


def to_float(clips: Any) -> Tensor:
    """int16 samples -> float32 in [-1, 1]."""
    return torch.from_numpy(np.asarray(clips, dtype=np.float32) / 32768)


class Fit:
    """AdamW with warm-up and cosine decay over a fixed number of steps, and an exponential average of the weights."""

    def __init__(self, modules: nn.Module, steps: int, learning_rate: float, log: Path) -> None:
        self.parameters = [p for p in modules.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimiser = torch.optim.AdamW(self.parameters, learning_rate, betas=(0.9, 0.98), weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda k: min((k + 1) / 100, 0.5 + 0.5 * math.cos(math.pi * k / steps))
        )
        self.log, self.done, self.start = log, 0, time.monotonic()
        self.recent: list[float] = []
        log.write_text("")

    def step(self, loss: Tensor) -> None:
        """One optimiser step; a line of the log every 50."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        self.recent.append(float(loss.detach()))
        rate = 1.0 if self.done < AVERAGE_AFTER else 1 - DECAY
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], rate)
        if self.done % 50 == 0:
            row = {"step": self.done, "loss": round(float(np.mean(self.recent)), 5), "s": round(self.elapsed)}
            with self.log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
            self.recent = []

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def swap_average(self) -> None:
        """Exchange the weights and their average: the averaged model is the one that ships."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)
