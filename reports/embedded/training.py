"""What the training scripts share: options, clips on a device, and a fit that can be broken off and resumed.

A script is bounded by steps, which makes it repeatable, or by minutes, which a lent card is. Its state (weights, their
average, the optimiser and the generator) goes to --state once a minute; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from captions import describe
from vocabulary import tokenizer

from dragon_rewards.compute.devices import find_device

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # processes share the cores already
if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

WORDS = 24  # the most that a caption has, and what the pipeline pads to
AVERAGE_AFTER, WARM_UP, LOG_EVERY, SAVE_EVERY = 200, 100, 100, 60.0  # steps, and seconds


@dataclass(frozen=True)
class Job:
    """What a training script was asked for.

    Attributes:
        work: the folder of rendered clips.
        out: where the weights go.
        state: the file to resume from; outside of the repository.
        reports: the folder of the log and the figures.
        device: where the networks are trained.
        steps: the number of steps of the schedule, unless `seconds` bounds it.
        seconds: of training in all; 0 where steps bound it.
        batch: clips a step.
        rate: the highest learning rate.
    """

    work: Path
    out: Path
    state: Path
    reports: Path
    device: torch.device
    steps: int
    seconds: float
    batch: int
    rate: float


def options(description: str | None, steps: int, batch: int, rate: float) -> argparse.ArgumentParser:
    """The options of a training script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the folder that corpus.py filled")
    parser.add_argument("out", type=Path, help="the folder for the weights")
    parser.add_argument("--state", type=Path, required=True, help="the file to resume from, outside of the repository")
    parser.add_argument("--reports", type=Path, default=Path(__file__).parent, help="the folder of log and figures")
    parser.add_argument("--device", default="cpu", help="as torch names it: cuda, cuda:1, xpu")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--minutes", type=float, default=0.0, help="bound the training by time instead of steps")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=rate, help="the highest learning rate")
    return parser


def asked(given: argparse.Namespace) -> Job:
    """Make the folders of what the options name."""
    for folder in (given.out, given.state.parent, given.reports):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")  # TF32 on a card
    device = find_device(given.device)
    budget = given.steps, 60 * given.minutes, given.batch, given.rate
    return Job(given.work, given.out, given.state, given.reports, device, *budget)


def load_rows(work: Path, split: str) -> list[dict[str, Any]]:
    """A row per clip of a split: piece, attributes, caption."""
    return [json.loads(line) for line in (work / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def load_clips(work: Path, split: str, device: torch.device | str = "cpu") -> Tensor:
    """The int16 clips of a split, (clips, samples): mapped from the disk on a CPU, and in a card's memory."""
    return torch.from_numpy(np.load(work / f"{split}.npy", mmap_mode="c")).to(device)


def to_float(clips: Tensor) -> Tensor:
    """int16 samples -> float32 in [-1, 1]."""
    return clips.float() / 32768


def crops(clips: Tensor, rows: Tensor, starts: Tensor, length: int) -> Tensor:
    """Excerpts of clips (clips, samples), one per row and start: (rows, length) in float32."""
    return to_float(clips[rows[:, None], starts[:, None] + torch.arange(length, device=starts.device)])


def tokens_of(rows: list[dict[str, Any]], count: int, seed: int) -> Tensor:
    """Word identifiers of `count` captions of every row, drawn on all cores: (rows, count, WORDS), padded with 0."""
    chunks = [rows[i : i + 512] for i in range(0, len(rows), 512)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(_tokens, chunks, [count] * len(chunks), range(seed, seed + len(chunks))))
    return torch.from_numpy(np.concatenate(parts)).view(len(rows), count, WORDS)


def _tokens(rows: list[dict[str, Any]], count: int, seed: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    rng, words = random.Random(seed), tokenizer()
    words.enable_padding(length=WORDS)
    texts = [describe(row["attributes"], rng) for row in rows for _ in range(count)]
    return np.array([encoding.ids for encoding in words.encode_batch(texts)], np.int32)


class Fit:
    """AdamW with warm-up and cosine decay over the budget, and an exponential average of the weights."""

    def __init__(self, name: str, modules: nn.Module, job: Job, decay: float, seed: int) -> None:
        self.name, self.modules, self.job, self.decay = name, modules, job, decay
        self.parameters = [p for p in modules.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimiser = torch.optim.AdamW(self.parameters, job.rate, betas=(0.9, 0.98), weight_decay=1e-2)
        self.generator = torch.Generator(job.device).manual_seed(seed)
        self.done, self.before, self.start, self.saved = 0, 0.0, time.monotonic(), time.monotonic()
        self.recent: list[Tensor] = []
        self.log = job.reports / f"{name}_log.jsonl"
        if job.state.exists():
            self._resume()
        else:
            self.log.write_text("")

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before an interruption with them."""
        return self.before + time.monotonic() - self.start

    @property
    def progress(self) -> float:
        """What share of the budget is spent, from 0 to 1."""
        spent = self.elapsed / self.job.seconds if self.job.seconds else self.done / self.job.steps
        return min(1.0, spent)

    def __iter__(self) -> Iterator[int]:
        """Yield the number of every step that the budget has left; the state is saved once a minute and at the end."""
        while self.progress < 1:
            yield self.done
            if time.monotonic() - self.saved > SAVE_EVERY:
                self._save()
        self._save()

    def step(self, loss: Tensor) -> None:
        """One optimiser step; a line of the log every LOG_EVERY."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.job.rate * min((self.done + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * self.progress))
        self.optimiser.step()
        self.done += 1
        self.recent.append(loss.detach())
        share = 1.0 if self.done < AVERAGE_AFTER else 1 - self.decay
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], share)
        if self.done % LOG_EVERY == 0:
            self.write(loss=round(float(torch.stack(self.recent).mean()), 5))
            self.recent = []

    def write(self, **found: Any) -> None:
        """Add a line to the log."""
        row = {"step": self.done, "s": round(self.elapsed), **found}
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    def _save(self) -> None:
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "done": self.done,
            "elapsed": self.elapsed,
        }
        partial = self.job.state.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.job.state)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        state = torch.load(self.job.state, map_location=self.job.device, weights_only=True)
        self.modules.load_state_dict(state["modules"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"].cpu())
        self.done, self.before = state["done"], state["elapsed"]

    def swap_average(self) -> None:
        """Exchange the weights and their average: the averaged model is the one that ships."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def report(self, **found: Any) -> None:
        """Write the figures of the finished model beside the log."""
        budget = {"steps": self.done, "batch": self.job.batch, "rate": self.job.rate}
        spent = {"minutes": round(self.elapsed / 60, 1), "device": self.job.device.type}
        text = json.dumps({**budget, **spent, **found}, indent=2)
        (self.job.reports / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        print(text, flush=True)
