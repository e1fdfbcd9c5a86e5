"""The embedded pipeline's prompts; needs no torch."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def prompts(split: str) -> Sequence[str]:
    """`train`: captions of training clips; `heldout`: captions of held-out pieces, none of them a training caption."""
    return files("dragon_train.embedded").joinpath("prompts", f"{split}.txt").read_text(encoding="utf-8").splitlines()
