"""The estimate of a step beside the step itself: memory and time, on the CPU.

python reports/guide/estimated.py SCRATCH     # ten minutes on one core; writes estimate.csv and estimate.md

SCRATCH is a folder for small pipelines with random weights. Memory is the most that is in use at once: by the estimate
with what Python and its libraries had before anything was loaded (base_gb, as measured), and as the process had it that
gives memory back as soon as it is free. Seconds are of the CPU's own work, one thread, of all phases that are
estimated. Every row is written as soon as it is there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dragon_rewards.storage.results import write_table
from dragon_train.config import TrainConfig
from dragon_train.estimate.estimate import estimate
from dragon_train.estimate.machine import benchmark
from dragon_train.estimate.measure import measured_apart
from dragon_train.objectives.configured import completed
from dragon_train.prompts import split
from dragon_train.registry import load_train_registry

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))
CPU = torch.device("cpu")
SMALL = {"reward": "vendi:logmel", "prompts_per_step": 4, "demonstration_steps": 4, "guidance": 3.0}


@dataclass(frozen=True)
class Case:
    """A pipeline, embedded or of an adapter's class, and how it is tuned."""

    pipeline: str
    settings: dict[str, Any] = field(default_factory=dict)


CASES = (
    *(Case(name, SMALL) for name in ("stable-audio-3", "stable-audio")),
    Case("embedded"),
    Case("embedded", {"precision": "bf16"}),
    Case("embedded", {"gradient_checkpointing": True, "microbatch": 4}),
    Case("embedded", {"tuning": "all"}),
    *(Case(name, SMALL) for name in ("audioldm2", "ace-step", "longcat-audio")),
)


def row(case: Case, scratch: Path) -> dict[str, Any]:
    """Estimate and measurement."""
    from support.pipelines import folder_of

    source = case.pipeline if case.pipeline == "embedded" else str(folder_of(case.pipeline, scratch))
    config = completed(TrainConfig(**{"reward": "vendi:clap", "pipeline": source, **case.settings}))
    found = estimate(load_train_registry().pipeline(source), config, benchmark(CPU), cuda=False)
    step = measured_apart(config, split(config, None)[0], CPU)
    phases = [phase for phase in found.memory if phase in step.peaks]
    expected = found.peak + step.base
    seconds = sum(found.seconds[phase] for phase in phases)
    taken = sum(step.seconds[phase] for phase in phases)
    settings = {key: value for key, value in case.settings.items() if key not in SMALL}
    return {
        "pipeline": case.pipeline,
        "settings": ", ".join(f"{key}={value}" for key, value in settings.items()),
        "base_gb": step.base / 1e9,
        "estimated_gb": expected / 1e9,
        "measured_gb": step.peak / 1e9,
        "memory_error": expected / step.peak - 1,
        "resident_gb": step.resident / 1e9,
        "estimated_s": seconds,
        "measured_s": taken,
        "time_error": seconds / taken - 1,
    }


def main(scratch: Path) -> None:
    """Write the table."""
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        rows.append(row(case, scratch))
        write_table(HERE / "estimate", pd.DataFrame(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
