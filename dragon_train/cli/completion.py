"""What a shell completes of the trainer's: names of what is installed, found without torch."""

from __future__ import annotations

from dragon_train.bench.presets import builtin_presets
from dragon_train.registry import load_train_registry


def pipelines() -> list[str]:
    """Every pipeline that is registered."""
    return list(load_train_registry().pipelines)


def objectives() -> list[str]:
    """Every objective."""
    return list(load_train_registry().objectives)


def presets() -> list[str]:
    """The presets of the benchmark that ship with the package."""
    return list(builtin_presets())


def ablations() -> list[str]:
    """The ablations that ship with the package."""
    from dragon_train.bench.ablation.grid import shipped_grids

    return list(shipped_grids())


def cards() -> list[str]:
    """The cards of the table."""
    from dragon_train.estimate.cards import cards as table

    return list(table())


def launchers() -> list[str]:
    """What starts runs."""
    from dragon_train.bench.launchers import LAUNCHERS

    return list(LAUNCHERS)
