"""The built-in plugin of the encoders of the servers that were added.

It is a plugin by itself, so that its failure affects no other. It loads last, so that installed encoders take their
names first: the environment that serves an encoder may read the same file of servers.
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
    """Register every encoder of every server, from the file alone, except encoders whose names are taken.

    Raises:
        ConfigError: the file of servers cannot be read.
        ComposeError: a prefix makes a malformed name.
    """
    for remote in load_remotes():
        for descriptor in descriptors(remote):
            with suppress(ValueError):  # the name is taken; a malformed name is a ComposeError, not a ValueError
                register(descriptor)


def descriptors(remote: Remote) -> list[EncoderInfo]:
    """Return the descriptors of the encoders of a server; their factories connect to it."""
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
