"""The hooks that a plugin implements, each marked with `hookimpl`.

A package offers its plugin as an entry point in the group `dragon_rewards`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggy import HookimplMarker, HookspecMarker

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.protocols import EncoderInfo, ExemplarSetInfo, ReductionInfo

PROJECT = "dragon_rewards"
hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)


@hookspec
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Call `register` once for every encoder of the plugin; an encoder's factory builds the model on first use."""


@hookspec
def register_exemplar_sets(register: Callable[[ExemplarSetInfo], None]) -> None:
    """Call `register` once for every exemplar set of the plugin, with what `load_exemplar_set(folder)` returns."""


@hookspec
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Call `register` once for every reduction of the plugin; a reduction's factory builds it on first use."""
