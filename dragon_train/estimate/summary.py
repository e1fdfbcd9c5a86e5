"""Sum up what `dragon estimate` prints: the estimate, what a step really took beside it, and what it all rests on."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.compute.devices import find_device
from dragon_train.estimate.estimate import capacity, estimate
from dragon_train.estimate.fit import size
from dragon_train.estimate.learning import PROMPT
from dragon_train.estimate.machine import GIGA, Published, benchmark
from dragon_train.estimate.measure import Measured, measured_apart, of_process
from dragon_train.prompts import split
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dragon_train.config import TrainConfig
    from dragon_train.estimate.cards import Card
    from dragon_train.estimate.estimate import Estimate


@dataclass(frozen=True)
class Report:
    """An estimate for a device, with what is said about it.

    Attributes:
        estimate: the counts.
        where: the name of the device or the card.
        capacity: the bytes of its memory; None where torch does not tell.
        base: the bytes that Python and its libraries take on a CPU, as measured now; elsewhere 0.
        measured: what a step took, if it was asked for.
    """

    estimate: Estimate
    where: str
    capacity: int | None
    base: int
    measured: Measured | None

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each phase, with the estimate and the measurement."""
        rows = self.estimate.rows()
        if self.measured:
            for row in rows:
                peak, phase = self.measured.peaks.get(row["phase"]), row["phase"]
                row["measured_gb"] = None if peak is None else (peak - self.measured.base) / GIGA
                row["measured_seconds"] = self.measured.seconds.get(phase)
        return rows

    def notes(self) -> list[str]:
        """Return the sentences that stand below the tables."""
        total = sum(self.estimate.seconds.values())
        lines = [
            f"memory: {size(self.estimate.peak)} at its highest, {self.verdict()}",
            f"time: {total:.3g} s a step, without choosing among clips; {self.estimate.basis}",
            *(f"{name}: not counted: {reason}" for name, reason in self.estimate.uncounted.items()),
        ]
        if self.base:
            lines.append(f"beside this, Python and its libraries have {size(self.base)} here")
        if self.measured and self.measured.resident:
            lines.append(
                f"measured is what was in use beside the {size(self.measured.base)} of Python and its libraries; a "
                f"process that keeps what it freed, as by default, had {size(self.measured.resident)} in all"
            )
        return lines

    def fits(self) -> bool | None:
        """Return whether the device has as much memory as the run takes; None where that is not known."""
        return None if self.capacity is None else self.estimate.peak + self.base <= self.capacity

    def verdict(self) -> str:
        """Say in words whether the device has as much memory as the run takes."""
        if self.capacity is None:
            return f"and torch does not tell how much {self.where} has"
        return f"which {'fits' if self.fits() else 'does not fit'} into the {size(self.capacity)} of {self.where}"

    def to_json(self) -> dict[str, Any]:
        """Return everything as a dictionary, in bytes and seconds."""
        found = self.estimate
        return {
            "device": self.where,
            "basis": found.basis,
            "capacity_bytes": self.capacity,
            "base_bytes": self.base,
            "peak_bytes": found.peak,
            "fits": self.fits(),
            "step_seconds": sum(found.seconds.values()),
            "held_bytes": dict(found.held),
            "phases": {
                phase: {"bytes": taken, "seconds": found.seconds.get(phase)} for phase, taken in found.memory.items()
            },
            "uncounted": dict(found.uncounted),
            "measured": self.measured.to_json() if self.measured else None,
        }


def report(
    config: TrainConfig, prompts: Path | None, card: Card | None, device: str | None, *, measure: bool
) -> Report:
    """Estimate a run, whose configuration is completed, on a card, or on a device that is here; and measure it there.

    Args:
        config: the run, with the defaults of its objective's options.
        prompts: a file of prompts, which say how long clips are, and are the measured step's; None for the
            defaults.
        card: a card that need not be here; None for a device that is.
        device: the name of the device; None for the default.
        measure: whether a step is measured, too.

    Raises:
        UnknownNameError: there is no such pipeline.
        DeviceError: torch has no such device here.
        DragonError: the pipeline cannot be counted, or the step failed.
    """
    info = load_train_registry().pipeline(config.pipeline)
    texts = split(config, prompts).train if prompts or measure else (PROMPT,)
    if card is not None:
        found = estimate(info, config, Published(card), cuda=True, prompt=texts[0])
        return Report(found, card.name, int(card.memory * GIGA), 0, None)
    here = find_device(device)
    found = estimate(info, config, benchmark(here), cuda=here.type == "cuda", prompt=texts[0])
    gc.collect()
    step = measured_apart(config, texts, here) if measure else None
    return Report(found, str(here), capacity(here), base(here), step)


def base(device: torch.device) -> int:
    """Return the bytes of this process, all imported, where it computes on the CPU; elsewhere 0."""
    return of_process("VmRSS") if device.type == "cpu" else 0
