"""Modules that have moved since 0.1 can be imported under their former names until 0.3, with a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

MOVED = {  # former name -> the modules that now hold what the module of that name held
    "dragon_rewards.aesthetics": ("dragon_rewards.reductions.aesthetics",),
    "dragon_rewards.audio": ("dragon_rewards.media.audio", "dragon_rewards.media.clips"),
    "dragon_rewards.clips": ("dragon_rewards.media.clips",),
    "dragon_rewards.devices": ("dragon_rewards.compute.devices",),
    "dragon_rewards.images": ("dragon_rewards.media.images",),
    "dragon_rewards.loudness": ("dragon_rewards.media.loudness",),
    "dragon_rewards.tables": ("dragon_rewards.evaluation.score_tables",),
    "dragon_train.catalogue": ("dragon_train.descriptors",),
    "dragon_train.demonstrations": (
        "dragon_train.protocols",
        "dragon_train.loop.rollout",
        "dragon_train.loop.selection",
        "dragon_train.objectives.preference",
    ),
    "dragon_train.pipelines.base": ("dragon_train.protocols",),
    "dragon_train.run": ("dragon_train.loop.run", "dragon_train.loop.tuning"),
    "dragon_train.seeds": ("dragon_train.loop.rollout",),
    "dragon_train.trainer": ("dragon_train.loop.loop",),
    "dragon_train.tuning": ("dragon_train.loop.tuning", "dragon_train.loop.learner"),
}


class FormerNames(MetaPathFinder, Loader):
    """Finds modules by the names that they had in 0.1, and fills them with what their successors hold."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return a spec for a former name, and None for every other name."""
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with what its successors hold, and warn whoever imports it."""
        homes = MOVED[module.__name__]
        message = f"{module.__name__} is now {' and '.join(homes)}; its former name goes with version 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        for home in homes:
            public = {name: value for name, value in vars(import_module(home)).items() if not name.startswith("_")}
            vars(module).update(public)


def install() -> None:
    """Make former names of modules importable; calling it again has no effect."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
