"""Declare the hooks by which plugins extend the trainer; their entry-point group is `dragon_train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.descriptors import AdapterInfo, ObjectiveInfo, PipelineInfo

PROJECT = "dragon_train"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_pipelines(register: Callable[[PipelineInfo], None]) -> None:
    """Call `register` with each pipeline that can be tuned."""


@hookspec
def register_adapters(register: Callable[[AdapterInfo], None]) -> None:
    """Call `register` with each diffusers class whose pipelines, wherever they are stored, can be tuned."""


@hookspec
def register_objectives(register: Callable[[ObjectiveInfo], None]) -> None:
    """Call `register` with each objective that moves a policy toward its demonstrations."""
