"""What a trainer plugin registers: light descriptors of pipelines, adapters and objectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.objectives import Objective
    from dragon_train.pipelines.base import Policy


@dataclass(frozen=True)
class PipelineInfo:
    """A registered pipeline; its model is built on first use."""

    name: str
    summary: str
    licence: str
    factory: Callable[[], Policy]


@dataclass(frozen=True)
class AdapterInfo:
    """A registered adapter: `factory(pipeline)` adapts a pipeline of the diffusers class `pipeline_class`."""

    name: str
    pipeline_class: str
    summary: str
    factory: Callable[[Any], Policy]


@dataclass(frozen=True)
class ObjectiveInfo:
    """A registered objective; `factory(beta)` builds it, `paired_only` if it compares clips of the same prompt."""

    name: str
    summary: str
    factory: Callable[[float], Objective]
    paired_only: bool = False
