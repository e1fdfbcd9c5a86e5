"""The encoders of the servers that were added: a plugin of its own, so that what breaks it leaves the others alone.

It loads last, and what is installed goes first: the environment that serves an encoder may read the same file.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from dragon_rewards.hookspecs import hookimpl
from dragon_rewards.protocols import EncoderInfo
from dragon_rewards.remote.config import load_remotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import Encoder
    from dragon_rewards.remote.config import Facts, Remote


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Every encoder of every server, from the file alone, but those whose names are taken.

    Raises:
        ComposeError: a prefix makes a malformed name.
    """
    for remote in load_remotes():
        for descriptor in descriptors(remote):
            with suppress(ValueError):  # the name is taken; one that is malformed is a ComposeError, which is none
                register(descriptor)


def descriptors(remote: Remote) -> list[EncoderInfo]:
    """The encoders of a server; their factories connect."""
    return [
        EncoderInfo(
            name=f"{remote.prefix}{facts.name}",
            modalities=frozenset(facts.modalities),
            dim=facts.dim,
            sample_rate=facts.sample_rate,
            licence=facts.licence,
            summary=f"{facts.summary}, at {remote.url}",
            factory=partial(_connect, remote, facts),
            space=facts.name,
        )
        for facts in remote.encoders
    ]


def _connect(remote: Remote, facts: Facts) -> Encoder:
    from dragon_rewards.remote.client import connect

    return connect(remote, facts)
