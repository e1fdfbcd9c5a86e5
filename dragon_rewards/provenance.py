"""Provenance of results: the versions, plugins, device and weights that a result was made with."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.compute.devices import device_name
from dragon_rewards.registry import load_registry
from dragon_rewards.weights import commits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Weights

PACKAGES = ("dragon-rewards", "torch", "diffusers", "transformers", "numpy", "scipy", "pandas")


def provenance(
    more_plugins: Iterable[PluginRecord] = (), device: torch.device | None = None, weights: Iterable[Weights] = ()
) -> dict[str, Any]:
    """Describe what a result was made with: interpreter, platform, packages, plugins, processors, device.

    The description can be written as JSON.

    Args:
        more_plugins: plugins of other registries than `dragon_rewards`' own.
        device: where the result was computed; None if that does not matter.
        weights: the weights that were used; for those from the hub, the commits are recorded.
    """
    registry, found = load_registry(), commits(weights)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "plugins": [asdict(plugin) for plugin in (*registry.plugins, *more_plugins)],
        "failed_plugins": [str(failure) for failure in registry.failures],
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"commits": found} if found else {}),
        **({"device": " ".join(dict.fromkeys([str(device), device_name(device)]))} if device else {}),
    }
