"""Keep the folder of a tuning run: configuration, checkpoint, metrics per step, and the result.

`loop.loop` records every step here; what can be told of a folder without torch is in `loop.run_folder`. Checkpoints are
stored atomically: a kill, or a full disk, leaves the earlier one whole, and a flipped bit is noticed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import ZipFile

import pandas as pd
import torch
from msgspec import Meta

from dragon_rewards.errors import DragonError
from dragon_rewards.guard import undisturbed
from dragon_rewards.provenance import provenance
from dragon_rewards.storage.decoding import converted
from dragon_rewards.storage.files import replacing, write_csv
from dragon_train.loop.rollout import rebuilt
from dragon_train.loop.run_folder import CHECKPOINT, FINAL_CHECKPOINT, METRICS, is_finished
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dragon_rewards.media.media import Media
    from dragon_train.loop.run_folder import Claim


Weights = dict[str, torch.Tensor]
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]  # finite
AGAIN = "delete it to start again"


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
        rows: the metrics of each step that is done.
        weights: the weights that learn.
        optimiser: the state of the optimiser, as torch has it.
        scaler: the state of the gradient scaler, in fp16.
        average: the moving average of the weights, if the run keeps one.
        previous: the weights of the previous policy, if the objective keeps one.
        pool: for each earlier set of clips its frames by encoder, its embedded prompts by encoder, and its prompts.
        constraints: the multipliers of the constraints.
        best: the best weights yet, their win rate, and the comparisons since.
    """

    rows: Annotated[list[dict[str, int | float]], Meta(min_length=1)]  # as they were, so that files of them are
    weights: Weights
    optimiser: dict[str, Any]
    scaler: dict[str, Any] | None
    average: dict[str, Any] | None = None
    previous: list[torch.Tensor] | None = None
    pool: list[tuple[dict[str, list[torch.Tensor]], Weights, list[str]]] = field(default_factory=list)
    constraints: dict[str, list[Number]] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


class Run:
    """The record of a run in its folder, which belongs to one configuration; each step is recorded atomically.

    Attributes:
        claim: the configuration and the prompts that the folder belongs to.
        folder: where the run is recorded.
        device: where the run computes, which is recorded.
        writes: whether this process writes the files; of several one does.
        rows: the figures of the recorded steps.
        latent_encoders: the encoders of what is maximised that read latents instead of audio, which is recorded.
        start: the identity of the weights that the run starts from, which is recorded; none for the pipeline's own.
        claimed: whether the folder has the configuration and the prompts of this run.
    """

    def __init__(self, claim: Claim, folder: Path, device: torch.device, *, writes: bool = True) -> None:
        self.claim, self.folder, self.device, self.writes = claim, folder, device, writes
        self.rows: list[Mapping[str, float]] = []
        self.latent_encoders: Sequence[str] = ()
        self.start = ""
        self.claimed = False
        if writes:
            claim.check(folder)

    @property
    def finished(self) -> bool:
        """Whether the result is there, and nothing is left to do."""
        return is_finished(self.folder) and not self.claim.goes_on(self.folder)

    @property
    def checkpoint(self) -> Path:
        """The file of the state after the last recorded step, be the run finished or not."""
        final = self.folder / FINAL_CHECKPOINT
        return final if final.exists() and not (self.folder / CHECKPOINT).exists() else self.folder / CHECKPOINT

    def resume(self) -> Checkpoint | None:
        """Return the state after the last recorded step, or None for a new run.

        Raises:
            DragonError: the checkpoint is damaged, or not of this trainer.
        """
        if not self.checkpoint.exists():
            return None
        state = load_checkpoint(self.checkpoint)
        self.rows = list(state.rows)
        self.show()  # a kill may have come between the checkpoint and this
        return state

    def record(self, row: dict[str, float], state: dict[str, Any]) -> None:
        """Store a finished step, whole; the checkpoint is the truth, and metrics.csv a view of it."""
        with undisturbed():
            self.rows.append(row)
            if self.writes:
                self.keep(state)
            self.show()

    def keep(self, state: dict[str, Any]) -> None:
        """Write the checkpoint, and with the first one the configuration and the prompts of the run."""
        if self.checkpoint != self.folder / CHECKPOINT:  # finished until now: a kill leaves one checkpoint or the other
            self.checkpoint.replace(self.folder / CHECKPOINT)
        if not self.claimed:  # the folder is the run's from here on, and not if it gets no step
            registry = load_train_registry()
            weights = registry.pipeline(self.claim.config.pipeline).weights
            made_with = provenance(registry.plugins, self.device, weights)
            origin = {"start_from": self.start} if self.start else {}
            self.claim.write(self.folder, {**made_with, **origin, "read_from_latents": list(self.latent_encoders)})
            self.claimed = True
        save_checkpoint(self.folder / CHECKPOINT, {**state, "rows": self.rows})

    def show(self) -> None:
        """Write metrics.csv from the rows that the checkpoint holds."""
        if self.writes and self.rows:
            write_csv(self.folder / METRICS, pd.DataFrame(self.rows))

    def finish(self) -> None:
        """Keep the last state under the name that tells that the result is stored; more steps go on from it."""
        if (self.folder / CHECKPOINT).exists():
            (self.folder / CHECKPOINT).replace(self.folder / FINAL_CHECKPOINT)


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Store tensors, numbers, strings and containers of them in a file that has a CRC-32 of each.

    Raises:
        DragonError: the disk is full, or cannot be written.
    """
    try:
        with replacing(path) as temporary:
            torch.save(dict(state), temporary)
    except (OSError, RuntimeError) as error:  # torch raises the latter where a write fails
        raise DragonError(
            f"{path}: this step could not be stored ({error}); make room on the disk, and the same command resumes "
            "from the step before"
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Load a checkpoint without running any code that the file may hold.

    Raises:
        DragonError: it is damaged, or no checkpoint of this trainer.
    """
    try:
        check_whole(path)
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # of zipfile, pickle and torch, and Python's for types that they do not have
        raise DragonError(f"'{path}' is damaged, or not a checkpoint of this trainer ({error}); {AGAIN}") from error
    checked = converted(state, Checkpoint, f"'{path}'", AGAIN)
    return replace(checked, rows=state["rows"])  # as they were: of a step 1 there would be 1.0


def check_whole(path: Path) -> None:
    """Check the CRC-32 of every part of the file, which torch does not look at.

    Raises:
        ValueError: the content of a part does not have its CRC-32.
    """
    with ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f"{wrong} is not what was written")


def pool_state(pool: deque[Media]) -> list[Any]:
    """Return the clips of a pool in the form that a checkpoint holds."""
    kept = [(clips.known, list(map(str, clips.prompts or ()))) for clips in pool]  # rewards read the text alone
    return [
        ({encoder: list(frames) for encoder, frames in known.frames.items()}, dict(known.prompts), prompts)
        for known, prompts in kept
    ]


def load_pool(stored: list[Any], size: int, device: torch.device) -> deque[Media]:
    """Rebuild the pool of clips from what `pool_state` returned; it keeps the last `size` sets."""
    clips = (rebuilt(frames, embedded, prompts, device) for frames, embedded, prompts in stored)
    return deque(clips, maxlen=size)
