"""The exemplar sets that the user made: a plugin of its own, which loads last, so that what is installed goes first.

A set that is broken is left out and named among the failures (`store.found_sets`); the others are registered.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dragon_rewards.exemplars.store import found_sets
from dragon_rewards.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import ExemplarSetInfo


@hookimpl
def register_exemplar_sets(register: Callable[[ExemplarSetInfo], None]) -> None:
    """Every set of the user's, but those whose names are taken."""
    for info in found_sets()[0]:
        with suppress(ValueError):
            register(info)
