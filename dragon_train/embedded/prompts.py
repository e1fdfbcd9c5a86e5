"""Read the prompts of the embedded pipeline, without torch."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def prompts(role: str) -> Sequence[str]:
    """Return the prompts of a role; roles have neither pieces of music nor phrasings in common.

    No prompt is a caption of an exemplar set. In every prefix of a list, the counts of the values of an attribute,
    where prompts name it, differ by at most one.

    Args:
        role: `train` for tuning, `watch` for watching runs and choosing settings, `exam` for claims.
    """
    return files("dragon_train.embedded").joinpath("prompts", f"{role}.txt").read_text(encoding="utf-8").splitlines()
