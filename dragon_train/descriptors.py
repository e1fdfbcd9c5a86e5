"""Describe what a trainer plugin registers: pipelines, adapters and objectives, without loading any of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import torch

    from dragon_rewards.protocols import Weights
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Objective, Policy


@dataclass(frozen=True)
class Loading:
    """How the networks of a pipeline are loaded.

    Attributes:
        dtype: the type of their weights; None is float32. Networks that make the media (`loading.DECODERS`) are in
            float32 in any case.
        device: where they are loaded to; None is the CPU. On `meta` nothing is loaded: the networks have shapes and no
            values.
    """

    dtype: torch.dtype | None = None
    device: torch.device | None = None


IN_FULL = Loading()


@runtime_checkable
class PipelineFactory(Protocol):
    """A function that builds a pipeline's policy; by default in float32, on the CPU."""

    def __call__(self, loading: Loading = IN_FULL) -> Policy:
        """Load the networks in the precision and onto the device that `loading` names, and return the policy."""
        ...


@dataclass(frozen=True)
class PipelineInfo:
    """A registered pipeline; its model is built on first use.

    A `factory` that does not heed the precision or the device costs memory and nothing else: the trainer casts and
    moves what it returns.

    Attributes:
        name: how a configuration and the command line name it.
        summary: a line for `dragon list pipelines`.
        licence: the licence of its weights.
        factory: builds its policy.
        weights: the downloads that it needs and its package does not bring.
        adapter: the name of the adapter that its policy is of, which says what columns of prompts it takes; empty if it
            is of none, and takes the prompt alone.
        base: the name of the pipeline to train instead, if this one is post-trained; empty if it is not.
    """

    name: str
    summary: str
    licence: str
    factory: PipelineFactory
    weights: tuple[Weights, ...] = ()
    adapter: str = ""
    base: str = ""


@dataclass(frozen=True)
class AdapterInfo:
    """A registered adapter: `factory(pipeline)` adapts a pipeline of the class `pipeline_class`.

    Attributes:
        name: its name among the adapters.
        pipeline_class: the name of the class, of diffusers or of `module`.
        summary: a line for `dragon list adapters`.
        factory: takes a loaded diffusers pipeline and returns the policy over it.
        columns: the columns of a table of prompts that it takes beside the prompt (`dragon_train.prompt_table`).
        module: the module of the class, where it is not one of diffusers.
        components: classes beside the ones of diffusers and transformers that its pipelines may be made of, each by its
            module and name, as in "package.module.Name"; the package must be installed, as no code comes with weights.
    """

    name: str
    pipeline_class: str
    summary: str
    factory: Callable[[Any], Policy]
    columns: Collection[str] = ()
    module: str = "diffusers"
    components: Collection[str] = ()


@dataclass(frozen=True)
class ObjectiveInfo:
    """A registered objective.

    Attributes:
        name: how a configuration and the command line name it.
        summary: a line for `dragon list objectives`.
        factory: builds it from the run's configuration.
        paired_only: whether it compares clips of the same prompt, and so needs `pairing = "paired"`.
        options: a frozen dataclass of its own settings, whose fields say by `Annotated[..., msgspec.Meta]` what each
            may be and means; the configuration's `options` holds the values.
    """

    name: str
    summary: str
    factory: Callable[[TrainConfig], Objective[Any]]
    paired_only: bool = False
    options: type[Any] | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each of its options, by name."""
        return {each.name: each.default for each in fields(self.options)} if self.options else {}
