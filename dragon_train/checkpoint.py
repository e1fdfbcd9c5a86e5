"""Atomic checkpoints: a kill leaves the earlier one whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.report import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Store tensors, numbers, strings and containers of them."""
    with replacing(path) as temporary:
        torch.save(dict(state), temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load without running any code that the file may hold."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise DragonError(f"{path}: not a checkpoint of this trainer ({error}); delete it to start again") from error
    return state
