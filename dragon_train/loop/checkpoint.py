"""Store checkpoints atomically: a kill, or a full disk, leaves the earlier one whole, and a flipped bit is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any
from zipfile import ZipFile

import torch
from msgspec import Meta

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import converted
from dragon_rewards.storage.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
        pool: for each earlier set of clips its frames by encoder, its embedded prompts by encoder, and its prompts.
        constraints: the multipliers and levels of the constraints.
        best: the best weights yet, their win rate, and the comparisons since.
    """

    rows: Annotated[list[dict[str, int | float]], Meta(min_length=1)]  # as they were, so that files of them are
    weights: Weights
    optimiser: dict[str, Any]
    scaler: dict[str, Any] | None
    average: dict[str, Any] | None = None
    pool: list[tuple[dict[str, list[torch.Tensor]], Weights, list[str]]] = field(default_factory=list)
    constraints: dict[str, list[Number]] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)


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
