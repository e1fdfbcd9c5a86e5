"""Read the prompts of the embedded pipeline, without torch."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def prompts(split: str) -> Sequence[str]:
    """Return the prompts of a split.

    Args:
        split: `train` for captions of training clips, or `heldout` for captions of held-out pieces, none of which is a
            training caption.
    """
    return files("dragon_train.embedded").joinpath("prompts", f"{split}.txt").read_text(encoding="utf-8").splitlines()
