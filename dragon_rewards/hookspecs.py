"""The hooks a plugin implements: entry-point group `dragon_rewards`, functions marked with `hookimpl`."""

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
    """Call `register` once for every encoder; its factory builds the model on first use."""


@hookspec
def register_exemplar_sets(register: Callable[[ExemplarSetInfo], None]) -> None:
    """Call `register` once for every exemplar set, as `load_exemplar_set(folder)` describes it."""


@hookspec
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Call `register` once for every reduction; its factory builds it on first use."""
