"""The encoders of the servers that were added: a plugin of its own, so that what breaks it leaves the others alone.

It loads last, and what is installed goes first: the environment that serves an encoder may read the same file.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dragon_rewards.hookspecs import hookimpl
from dragon_rewards.remote.config import load_remotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import EncoderInfo


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Every encoder of every server, from the file alone, but those whose names are taken."""
    for remote in load_remotes():
        for descriptor in remote.descriptors:
            with suppress(ValueError):
                register(descriptor)
