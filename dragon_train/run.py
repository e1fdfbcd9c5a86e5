"""The folder of a tuning run: configuration, checkpoint, metrics per step, final weights."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd
from safetensors.torch import load_file, save_file

from dragon_rewards.errors import ConfigError
from dragon_rewards.report import provenance, replacing, write_text
from dragon_train.checkpoint import load_checkpoint, save_checkpoint
from dragon_train.config import train_config
from dragon_train.demonstrations import Generations
from dragon_train.learner import make_tuning
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dragon_train.config import TrainConfig
    from dragon_train.learner import Tuning
    from dragon_train.pipelines.base import Policy

CONFIG, CHECKPOINT, METRICS, WEIGHTS = "config.json", "checkpoint.pt", "metrics.csv", "weights.safetensors"


class Run:
    """Records each step atomically; a run folder belongs to one configuration."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.rows: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.claim()

    def claim(self) -> None:
        """Write the configuration, or refuse a folder that holds another one's run."""
        path, wanted = self.folder / CONFIG, asdict(self.config)
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))["config"]
            for key, value in wanted.items():
                if found.get(key) != value:
                    raise ConfigError(
                        f"{self.folder} holds a run with {key} = {found.get(key)!r}, not {value!r}; "
                        "choose another --out, or delete the folder"
                    )
        else:
            write_text(
                path,
                json.dumps({"config": wanted, "provenance": provenance(load_train_registry().plugins)}, indent=2)
                + "\n",
            )

    def resume(
        self, policy: Policy, tuning: Tuning, optimiser: torch.optim.Optimizer
    ) -> tuple[int, deque[Generations]]:
        """Restore the last recorded step; returns the number of finished steps and the pool."""
        pool: deque[Generations] = deque(maxlen=2 * self.config.pool)
        if (self.folder / WEIGHTS).exists():
            tuning.load(load_file(self.folder / WEIGHTS))
            return self.config.steps, pool
        if not (self.folder / CHECKPOINT).exists():
            return 0, pool
        state = load_checkpoint(self.folder / CHECKPOINT)
        tuning.load(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        for latents, prompts in state["pool"]:
            pool.append(Generations(latents, policy.clips(latents, prompts)))
        self.rows = state["rows"]
        return len(self.rows), pool

    def record(
        self, row: dict[str, float], tuning: Tuning, optimiser: torch.optim.Optimizer, pool: deque[Generations]
    ) -> None:
        """Store a finished step; the checkpoint is the truth, metrics.csv a view of it."""
        self.rows.append(row)
        state = {
            "rows": self.rows,
            "weights": tuning.weights(),
            "optimiser": optimiser.state_dict(),
            "pool": [(g.latents, list(g.clips.prompts or [])) for g in pool],
        }
        save_checkpoint(self.folder / CHECKPOINT, state)
        write_text(self.folder / METRICS, pd.DataFrame(self.rows).to_csv(index=False))

    def finish(self, tuning: Tuning) -> None:
        """Store the tuned weights on their own; the checkpoint, three times their size, has served."""
        weights = {name: value.contiguous() for name, value in tuning.weights().items()}
        with replacing(self.folder / WEIGHTS) as temporary:
            save_file(weights, temporary)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)


def load_run(policy: Policy, folder: Path) -> TrainConfig:
    """Give `policy` the weights that a finished run tuned."""
    if not (folder / WEIGHTS).exists():
        raise ConfigError(
            f"{folder}: no finished run ({WEIGHTS} is missing); finish it with dragon train --out {folder}"
        )
    stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["config"]
    config = train_config(stored, str(folder / CONFIG))
    make_tuning(policy, config.tuning, config.lora_rank).load(load_file(folder / WEIGHTS))
    return config
