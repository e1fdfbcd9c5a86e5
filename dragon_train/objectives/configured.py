"""Build the objective that a configuration names, with its options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Objective


def completed(config: TrainConfig) -> TrainConfig:
    """Return the configuration with the defaults of its objective's options filled in.

    Raises:
        ConfigError: the objective has no such option, or needs pairs that the configuration does not give.
    """
    info = load_train_registry().objective(config.objective)
    if info.paired_only and config.pairing != "paired":
        raise ConfigError(
            f'objective \'{info.name}\' compares clips of the same prompt: use pairing = "paired", or objective = "kto"'
        )
    for name in config.options:
        if name not in info.defaults:
            found = ", ".join(info.defaults) or "none"
            raise ConfigError(f"options.{name}: objective '{config.objective}' has no such option; it has: {found}")
    return replace(config, options={**info.defaults, **config.options})


def make_objective(config: TrainConfig) -> Objective[Any]:
    """Build the objective of a configuration.

    Raises:
        ConfigError: the objective has no such option, or needs pairs that the configuration does not give.
    """
    return load_train_registry().objective(config.objective).factory(completed(config))
