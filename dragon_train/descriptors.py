"""What a trainer plugin registers: light descriptors of pipelines, adapters and objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from dragon_rewards.protocols import Weights
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Objective, Policy


@dataclass(frozen=True)
class Loading:
    """How the networks of a pipeline are loaded.

    Attributes:
        dtype: of their weights; None is float32. What makes the media (`loading.DECODERS`) is in float32 in any case.
        device: where to; None is the CPU. On `meta` nothing is loaded: the networks have shapes and no values.
    """

    dtype: torch.dtype | None = None
    device: torch.device | None = None


IN_FULL = Loading()


@runtime_checkable
class PipelineFactory(Protocol):
    """Builds a pipeline's policy; by default in float32, on the CPU."""

    def __call__(self, loading: Loading = IN_FULL) -> Policy:
        """Load the networks so."""
        ...


@dataclass(frozen=True)
class PipelineInfo:
    """A registered pipeline; its model is built on first use.

    A `factory` that does not heed the precision or the device costs memory and nothing else: the trainer casts and
    moves what it returns.

    Attributes:
        weights: what it loads that its package does not bring.
    """

    name: str
    summary: str
    licence: str
    factory: PipelineFactory
    weights: tuple[Weights, ...] = ()


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
