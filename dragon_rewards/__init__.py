"""Rewards that judge one clip, one clip against a distribution, or a whole set of clips (DRAGON, arXiv 2504.15217).

`__all__` lists the public names. They are imported on first use, so `import dragon_rewards` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from dragon_rewards import former_names

if TYPE_CHECKING:
    from dragon_rewards.compute.devices import statistics_device
    from dragon_rewards.errors import (
        AudioError,
        ComposeError,
        ConfigError,
        DeviceError,
        DragonError,
        EncoderError,
        ImageError,
        MissingPromptsError,
        TooFewClipsError,
        UnknownNameError,
        WeightsError,
    )
    from dragon_rewards.exemplars import load_exemplar_set
    from dragon_rewards.hookspecs import hookimpl
    from dragon_rewards.media.clips import Clips
    from dragon_rewards.media.images import Images
    from dragon_rewards.protocols import (
        AudioEncoder,
        BoundedTextEncoder,
        Direction,
        Embeddings,
        Encoder,
        EncoderInfo,
        ExemplarSetInfo,
        ImageEncoder,
        LatentEncoder,
        Modality,
        Reduction,
        ReductionInfo,
        ReferenceKind,
        RewardKind,
        SubsetReduction,
        TextEncoder,
        Weights,
    )
    from dragon_rewards.registry import Registry, load_registry
    from dragon_rewards.rewards import Reward, compose
    from dragon_rewards.suites import Suite, load_suite
    from dragon_rewards.weights import find_weights, fingerprint_files

__all__ = [
    "AudioEncoder",
    "AudioError",
    "BoundedTextEncoder",
    "Clips",
    "ComposeError",
    "ConfigError",
    "DeviceError",
    "Direction",
    "DragonError",
    "Embeddings",
    "Encoder",
    "EncoderError",
    "EncoderInfo",
    "ExemplarSetInfo",
    "ImageEncoder",
    "ImageError",
    "Images",
    "LatentEncoder",
    "MissingPromptsError",
    "Modality",
    "Reduction",
    "ReductionInfo",
    "ReferenceKind",
    "Registry",
    "Reward",
    "RewardKind",
    "SubsetReduction",
    "Suite",
    "TextEncoder",
    "TooFewClipsError",
    "UnknownNameError",
    "Weights",
    "WeightsError",
    "compose",
    "find_weights",
    "fingerprint_files",
    "hookimpl",
    "load_exemplar_set",
    "load_registry",
    "load_suite",
    "statistics_device",
]

_MODULES = {
    "media.clips": ("Clips",),
    "compute.devices": ("statistics_device",),
    "errors": (
        "AudioError",
        "ComposeError",
        "ConfigError",
        "DeviceError",
        "DragonError",
        "EncoderError",
        "ImageError",
        "MissingPromptsError",
        "TooFewClipsError",
        "UnknownNameError",
        "WeightsError",
    ),
    "exemplars": ("load_exemplar_set",),
    "hookspecs": ("hookimpl",),
    "media.images": ("Images",),
    "protocols": (
        "AudioEncoder",
        "BoundedTextEncoder",
        "Direction",
        "Embeddings",
        "Encoder",
        "EncoderInfo",
        "ExemplarSetInfo",
        "ImageEncoder",
        "LatentEncoder",
        "Modality",
        "Reduction",
        "ReductionInfo",
        "ReferenceKind",
        "RewardKind",
        "SubsetReduction",
        "TextEncoder",
        "Weights",
    ),
    "registry": ("Registry", "load_registry"),
    "rewards": ("Reward", "compose"),
    "suites": ("Suite", "load_suite"),
    "weights": ("find_weights", "fingerprint_files"),
}
former_names.install()
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
