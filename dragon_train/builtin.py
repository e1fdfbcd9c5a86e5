"""The trainer's own pipelines and objectives, registered through the hooks that anyone uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_train.catalogue import AdapterInfo, ObjectiveInfo, PipelineInfo
from dragon_train.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.objectives import Objective
    from dragon_train.pipelines.base import Policy


def embedded() -> Policy:
    """Build the embedded pipeline."""
    from dragon_train.embedded.pipeline import load_policy

    return load_policy()


def stable_audio(pipeline: Any) -> Policy:
    """Adapt a StableAudioPipeline."""
    from dragon_train.pipelines.stable_audio import StableAudioPolicy

    return StableAudioPolicy(pipeline)


def dpo(beta: float) -> Objective:
    """Build Diffusion-DPO."""
    from dragon_train.objectives import DiffusionDPO

    return DiffusionDPO(beta)


def kto(beta: float) -> Objective:
    """Build Diffusion-KTO."""
    from dragon_train.objectives import DiffusionKTO

    return DiffusionKTO(beta)


@hookimpl
def register_pipelines(register: Callable[[PipelineInfo], None]) -> None:
    """The embedded text-to-music model."""
    register(
        PipelineInfo(
            "embedded",
            "StableAudioPipeline, 3.3M-parameter transformer, 5.12 s of 16 kHz mono, trained on public-domain scores",
            "Apache-2.0",
            embedded,
        )
    )


@hookimpl
def register_adapters(register: Callable[[AdapterInfo], None]) -> None:
    """The audio pipelines of diffusers."""
    register(AdapterInfo("stable-audio", "StableAudioPipeline", "EDM preconditioning, v-prediction", stable_audio))


@hookimpl
def register_objectives(register: Callable[[ObjectiveInfo], None]) -> None:
    """The paper's two objectives."""
    register(ObjectiveInfo("dpo", "Diffusion-DPO, winners against losers of the same prompt", dpo, paired_only=True))
    register(ObjectiveInfo("kto", "Diffusion-KTO, each clip against a common reference point", kto))
