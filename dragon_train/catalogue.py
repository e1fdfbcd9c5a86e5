"""What a trainer plugin registers: light descriptors of pipelines, adapters and objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dragon_train.config import TrainConfig
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
    """A registered objective.

    Attributes:
        factory: builds it from the run's configuration.
        paired_only: whether it compares clips of the same prompt.
        options: its own settings with their defaults; the configuration's `options` holds the values.
    """

    name: str
    summary: str
    factory: Callable[[TrainConfig], Objective[Any]]
    paired_only: bool = False
    options: Mapping[str, float] = field(default_factory=dict)
