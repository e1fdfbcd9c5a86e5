"""What a shell completes: names of what is installed, found without torch."""

from __future__ import annotations

from dragon_rewards.exemplars.store import found_sets
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import valid_names
from dragon_rewards.suites import builtin_suites
from dragon_train.bench.presets import builtin_presets
from dragon_train.registry import load_train_registry


def rewards() -> list[str]:
    """Every reward that composes."""
    return list(map(str, valid_names(load_registry())))


def encoders() -> list[str]:
    """Every encoder."""
    return list(load_registry().encoders)


def exemplar_sets() -> list[str]:
    """Every exemplar set."""
    return list(load_registry().exemplar_sets)


def own_sets() -> list[str]:
    """The exemplar sets of the user's own."""
    return [info.name for info in found_sets()[0]]


def suites() -> list[str]:
    """The suites that ship with the package."""
    return list(builtin_suites())


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
