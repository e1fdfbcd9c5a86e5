"""Keep the folder of a tuning run: configuration, checkpoint, metrics per step, and the result.

`loop.loop` records every step here; what can be told of a folder without torch is in `loop.run_folder`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.provenance import provenance
from dragon_rewards.storage.spreadsheets import write_csv
from dragon_train.descriptors import Loading
from dragon_train.loop.checkpoint import load_checkpoint, save_checkpoint
from dragon_train.loop.generations import rebuilt
from dragon_train.loop.run_folder import CHECKPOINT, METRICS, check_result, has_result, stored_config
from dragon_train.loop.tuning import load_tuned
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from dragon_rewards.media.media import Media
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.loop.checkpoint import Checkpoint
    from dragon_train.loop.run_folder import Claim
    from dragon_train.protocols import Policy


class Run:
    """The record of a run in its folder, which belongs to one configuration; each step is recorded atomically.

    Attributes:
        claim: the configuration and the prompts that the folder belongs to.
        folder: where the run is recorded.
        device: where the run computes, which is recorded.
        writes: whether this process writes the files; of several one does.
        rows: the figures of the recorded steps.
    """

    def __init__(self, claim: Claim, folder: Path, device: torch.device, *, writes: bool = True) -> None:
        self.claim, self.folder, self.device, self.writes = claim, folder, device, writes
        self.rows: list[Mapping[str, float]] = []
        if writes:
            claim.check(folder)

    @property
    def finished(self) -> bool:
        """Whether the result is there, and nothing is left to do."""
        return has_result(self.folder) and not (self.folder / CHECKPOINT).exists()

    def resume(self) -> Checkpoint | None:
        """Return the state after the last recorded step, or None for a new run.

        Raises:
            DragonError: the checkpoint is damaged, or not of this trainer.
        """
        if not (self.folder / CHECKPOINT).exists():
            return None
        state = load_checkpoint(self.folder / CHECKPOINT)
        self.rows = list(state.rows)
        self.show()  # a kill may have come between the checkpoint and this
        return state

    def record(self, row: dict[str, float], state: dict[str, Any]) -> None:
        """Store a finished step; the checkpoint is the truth, and metrics.csv a view of it."""
        self.rows.append(row)
        if self.writes:
            self.keep(state)
        self.show()

    def keep(self, state: dict[str, Any]) -> None:
        """Write the checkpoint, and with the first one the configuration and the prompts of the run."""
        if not (self.folder / CHECKPOINT).exists():  # the folder is the run's from here on, and not if it gets no step
            registry = load_train_registry()
            weights = registry.pipeline(self.claim.config.pipeline).weights
            self.claim.write(self.folder, provenance(registry.plugins, self.device, weights))
        save_checkpoint(self.folder / CHECKPOINT, {**state, "rows": self.rows})

    def show(self) -> None:
        """Write metrics.csv from the rows that the checkpoint holds."""
        if self.writes and self.rows:
            write_csv(self.folder / METRICS, pd.DataFrame(self.rows))

    def finish(self) -> None:
        """Remove the checkpoint, which takes three times the space of the result, now that the result is stored."""
        (self.folder / CHECKPOINT).unlink(missing_ok=True)


def pool_state(pool: deque[Media]) -> list[Any]:
    """Return the clips of a pool in the form that a checkpoint holds."""
    kept = [(clips.known, list(clips.prompts or ())) for clips in pool]
    return [
        ({encoder: list(frames) for encoder, frames in known.frames.items()}, dict(known.prompts), prompts)
        for known, prompts in kept
    ]


def load_pool(stored: list[Any], size: int, device: torch.device) -> deque[Media]:
    """Rebuild the pool of clips from what `pool_state` returned; it keeps the last `size` sets."""
    clips = (rebuilt(frames, embedded, prompts, device) for frames, embedded, prompts in stored)
    return deque(clips, maxlen=size)


def load_policy(info: PipelineInfo, run: Path | None, device: torch.device) -> Policy:
    """Load a pipeline onto a device, with the weights of a finished run if one is given.

    Raises:
        DragonError: the folder holds no finished run of this pipeline, or the pipeline cannot be loaded.
    """
    if run is not None:
        check_result(run)
    policy = info.factory(Loading(device=device))
    if run is not None:
        load_run(policy, run)
    policy.pipeline.to(device)
    return policy


def load_run(policy: Policy, folder: Path) -> TrainConfig:
    """Give `policy` the weights that a finished run tuned, and return the run's configuration."""
    load_tuned(policy, folder)
    return stored_config(folder)
