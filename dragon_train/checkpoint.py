"""Atomic checkpoints: a kill, or a full disk, leaves the earlier one whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Store tensors, numbers, strings and containers of them.

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


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load without running any code that the file may hold."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise DragonError(f"{path}: not a checkpoint of this trainer ({error}); delete it to start again") from error
    return state
