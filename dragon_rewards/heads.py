"""The user's own aesthetics head: where `dragon fit-aesthetics` keeps it, and how it is the reduction `aesthetics`.

It loads after all plugins, so that a package can bring an `aesthetics` of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_rewards.exemplars.places import data_folder
from dragon_rewards.hookspecs import hookimpl
from dragon_rewards.protocols import Direction, ReductionInfo, RewardKind
from dragon_rewards.storage.tensor_files import read_metadata
from dragon_rewards.weights import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "aesthetics"
AGAIN = "make it again with `dragon fit-aesthetics`"


def head_path() -> Path:
    """Return where the head is kept: `aesthetics/head.safetensors` below `$DRAGON_WEIGHTS`, or in the data folder.

    Raises:
        ConfigError: `DRAGON_WEIGHTS` is not set, and there is no home directory.
    """
    own = os.environ.get(VARIABLE)
    return (Path(own) if own else data_folder()) / NAME / "head.safetensors"


def build() -> Any:
    """Build the reduction of the head that is kept."""
    from importlib import import_module

    return import_module("dragon_rewards.reductions.own_head").load_reduction()


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register the reduction `aesthetics`, tied to the encoder that the head was fitted for, if there is a head."""
    with suppress(ConfigError):
        path = head_path()
        if path.is_file():
            encoder = read_metadata(path, AGAIN).get("encoder", "")
            summary = f"your ratings, as a head over '{encoder}' predicts them"
            info = ReductionInfo(
                NAME, RewardKind.INSTANCE, Direction.HIGHER, summary, build, encoders=frozenset({encoder})
            )
            with suppress(ValueError):  # a plugin has the name
                register(info)
