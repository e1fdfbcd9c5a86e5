"""The names that a shell completes, found among what is installed without an import of torch."""

from __future__ import annotations

from dragon_rewards.exemplars.store import found_sets
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import valid_names
from dragon_rewards.suites import builtin_suites
from dragon_train.bench.presets import builtin_presets
from dragon_train.registry import load_train_registry


def rewards() -> list[str]:
    """Return the names of all rewards that compose from what is installed."""
    return list(map(str, valid_names(load_registry())))


def encoders() -> list[str]:
    """Return the names of all encoders that are registered."""
    return list(load_registry().encoders)


def exemplar_sets() -> list[str]:
    """Return the names of all exemplar sets that are registered."""
    return list(load_registry().exemplar_sets)


def own_sets() -> list[str]:
    """Return the names of the exemplar sets that the user has made."""
    return [info.name for info in found_sets()[0]]


def suites() -> list[str]:
    """Return the names of the suites that ship with the package."""
    return list(builtin_suites())


def pipelines() -> list[str]:
    """Return the names of all pipelines that are registered."""
    return list(load_train_registry().pipelines)


def objectives() -> list[str]:
    """Return the names of all objectives that are registered."""
    return list(load_train_registry().objectives)


def presets() -> list[str]:
    """Return the names of the benchmark's presets that ship with the package."""
    return list(builtin_presets())


def ablations() -> list[str]:
    """Return the names of the ablations that ship with the package."""
    from dragon_train.bench.ablation.grid import shipped_grids

    return list(shipped_grids())


def cards() -> list[str]:
    """Return the names of the graphics cards that `dragon estimate` knows."""
    from dragon_train.estimate.cards import cards as table

    return list(table())


def launchers() -> list[str]:
    """Return the names of the launchers, which start runs."""
    from dragon_train.bench.launchers import LAUNCHERS

    return list(LAUNCHERS)
