"""The folder of a tuning run: configuration, checkpoint, metrics per step, and the result."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.errors import ConfigError
from dragon_rewards.files import write_text
from dragon_rewards.formulas import write_csv
from dragon_rewards.report import provenance
from dragon_train.catalogue import Loading
from dragon_train.checkpoint import load_checkpoint, save_checkpoint
from dragon_train.config import train_config
from dragon_train.demonstrations import rebuilt
from dragon_train.registry import load_train_registry
from dragon_train.tuning import check_result, has_result, load_tuned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from dragon_rewards.media import Media
    from dragon_train.catalogue import PipelineInfo
    from dragon_train.config import TrainConfig
    from dragon_train.pipelines.base import Policy

CONFIG, CHECKPOINT, METRICS, PROMPTS = "config.json", "checkpoint.pt", "metrics.csv", "prompts.json"


class Run:
    """Records each step atomically; a run folder belongs to one configuration, and one process writes it."""

    def __init__(self, config: TrainConfig, folder: Path, device: torch.device, *, writes: bool = True) -> None:
        self.config, self.folder, self.device, self.writes = config, folder, device, writes
        self.rows: list[dict[str, float]] = []
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            self.claim()

    def claim(self) -> None:
        """Write the configuration, or refuse a folder that holds another one's run."""
        path, wanted = self.folder / CONFIG, json.loads(json.dumps(asdict(self.config)))
        if path.exists():
            found = stored_config(self.folder)
            for key, value in wanted.items():
                if found.get(key) != value:
                    raise ConfigError(
                        f"{self.folder} holds a run with {key} = {found.get(key)!r}, not {value!r}; "
                        "choose another --out, or delete the folder"
                    )
        else:
            made_with = provenance(load_train_registry().plugins, self.device)
            write_text(path, json.dumps({"config": wanted, "provenance": made_with}, indent=2) + "\n")

    @property
    def finished(self) -> bool:
        """Whether the result is there, and nothing is left to do."""
        return has_result(self.folder) and not (self.folder / CHECKPOINT).exists()

    def resume(self) -> dict[str, Any]:
        """The state after the last recorded step; empty for a new run."""
        if not (self.folder / CHECKPOINT).exists():
            return {}
        state = load_checkpoint(self.folder / CHECKPOINT)
        self.rows = state["rows"]
        self.show()  # a kill may have come between the checkpoint and this
        return state

    def record(self, row: dict[str, float], state: dict[str, Any]) -> None:
        """Store a finished step; the checkpoint is the truth, metrics.csv a view of it."""
        self.rows.append(row)
        if self.writes:
            save_checkpoint(self.folder / CHECKPOINT, {**state, "rows": self.rows})
        self.show()

    def show(self) -> None:
        """Write metrics.csv of the rows that the checkpoint holds."""
        if self.writes and self.rows:
            write_csv(self.folder / METRICS, pd.DataFrame(self.rows))

    def finish(self) -> None:
        """The result is stored: the checkpoint, three times its size, has served."""
        (self.folder / CHECKPOINT).unlink(missing_ok=True)


def pool_state(pool: deque[Media]) -> list[Any]:
    """The clips of a pool as a checkpoint takes them."""
    kept = [(clips.known, list(clips.prompts or ())) for clips in pool]
    return [
        ({encoder: list(frames) for encoder, frames in known.frames.items()}, dict(known.prompts), prompts)
        for known, prompts in kept
    ]


def load_pool(stored: list[Any], size: int, device: torch.device) -> deque[Media]:
    """What `pool_state` gave."""
    clips = (rebuilt(frames, embedded, prompts, device) for frames, embedded, prompts in stored)
    return deque(clips, maxlen=size)


def stored_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        ConfigError: its file cannot be read.
    """
    path = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error!r}); restore it, or choose another --out") from None
    return config


def keep_prompts(folder: Path, train: Sequence[str], heldout: Sequence[str]) -> None:
    """Write what a run is tuned on and what it keeps from training.

    Raises:
        ConfigError: the folder holds a run on other prompts, or a broken record of them.
    """
    path, wanted = folder / PROMPTS, {"train": list(train), "heldout": list(heldout)}
    if not path.exists():
        write_text(path, json.dumps(wanted, indent=0, ensure_ascii=False) + "\n")
    elif kept_prompts(folder) != wanted:
        raise ConfigError(
            f"{folder} holds a run on other prompts (by prompts, seed or heldout_prompts); give the same, choose "
            "another --out, or delete the folder"
        )


def kept_prompts(folder: Path) -> dict[str, list[str]]:
    """`train` and `heldout`, as `keep_prompts` wrote them.

    Raises:
        ConfigError: they are not there.
    """
    path = folder / PROMPTS
    try:
        kept: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore it, or run the command again") from None
    return kept


def load_policy(info: PipelineInfo, run: Path | None, device: torch.device) -> Policy:
    """A pipeline's policy on a device, tuned by a finished run if one is given."""
    if run is not None:
        check_result(run)
    policy = info.factory(Loading(device=device))
    if run is not None:
        load_run(policy, run)
    policy.pipeline.to(device)
    return policy


def load_run(policy: Policy, folder: Path) -> TrainConfig:
    """Give `policy` the weights that a finished run tuned."""
    load_tuned(policy, folder)
    return train_config(stored_config(folder), str(folder / CONFIG))
