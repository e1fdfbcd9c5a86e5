"""The check of what a package of the trainer's plugins promises as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.testing.packages import require_light

if TYPE_CHECKING:
    from dragon_train.testing import Given


def prepare(package: str, given: Given) -> str:  # noqa: ARG001  other families need it
    """Return the package's name, which is all that its checks need."""
    return package


def registering_builds_nothing(package: str) -> None:
    """Check that a new process that loads only this package beside the built-in parts imports nothing heavy."""
    require_light(package, "dragon_train", "load_train_registry")
