"""The built-in plugin of the user's own exemplar sets; it loads last, so that installed sets take their names first.

A set that is broken is left out and reported among the failures (`store.found_sets`); the others are registered.
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
    """Register every exemplar set of the user's, except sets whose names are taken."""
    for info in found_sets()[0]:
        with suppress(ValueError):
            register(info)
