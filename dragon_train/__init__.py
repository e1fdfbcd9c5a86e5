"""Fine-tune diffusion pipelines on any registered reward (DRAGON, arXiv 2504.15217).

The names below are the public ones, and all that a plugin needs. They are imported on first use, so
`import dragon_train` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import dragon_rewards  # noqa: F401  modules that have moved are found under their former names

if TYPE_CHECKING:
    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import AdapterInfo, Loading, ObjectiveInfo, PipelineInfo
    from dragon_train.hookspecs import hookimpl
    from dragon_train.loop.loop import train
    from dragon_train.loop.rollout import generate
    from dragon_train.loop.tuning import load_tuned
    from dragon_train.objectives.configured import make_objective
    from dragon_train.objectives.preference import Demonstrations, choose
    from dragon_train.pipelines.noise import EDM, DenoisingTarget, FlowMatching, VariancePreserving
    from dragon_train.pipelines.recorded import AudioPolicy, RecordedPolicy
    from dragon_train.protocols import (
        DivergingPolicy,
        Draw,
        Experience,
        Generations,
        LatentPolicy,
        Learner,
        Objective,
        Policy,
        Rollout,
        Sampler,
        SteppingPolicy,
    )
    from dragon_train.registry import TrainRegistry, load_train_registry

__all__ = [
    "EDM",
    "AdapterInfo",
    "AudioPolicy",
    "Demonstrations",
    "DenoisingTarget",
    "DivergingPolicy",
    "Draw",
    "Experience",
    "FlowMatching",
    "Generations",
    "LatentPolicy",
    "Learner",
    "Loading",
    "Objective",
    "ObjectiveInfo",
    "PipelineInfo",
    "Policy",
    "RecordedPolicy",
    "Rollout",
    "Sampler",
    "SteppingPolicy",
    "TrainConfig",
    "TrainRegistry",
    "VariancePreserving",
    "choose",
    "generate",
    "hookimpl",
    "load_train_registry",
    "load_tuned",
    "make_objective",
    "train",
]

_MODULES = {
    "config": ("TrainConfig",),
    "descriptors": ("AdapterInfo", "Loading", "ObjectiveInfo", "PipelineInfo"),
    "hookspecs": ("hookimpl",),
    "loop.loop": ("train",),
    "loop.rollout": ("generate",),
    "loop.tuning": ("load_tuned",),
    "objectives.configured": ("make_objective",),
    "objectives.preference": ("Demonstrations", "choose"),
    "pipelines.noise": ("EDM", "DenoisingTarget", "FlowMatching", "VariancePreserving"),
    "pipelines.recorded": ("AudioPolicy", "RecordedPolicy"),
    "protocols": (
        "DivergingPolicy",
        "Draw",
        "Experience",
        "Generations",
        "LatentPolicy",
        "Learner",
        "Objective",
        "Policy",
        "Rollout",
        "Sampler",
        "SteppingPolicy",
    ),
    "registry": ("TrainRegistry", "load_train_registry"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
