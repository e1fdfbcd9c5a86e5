"""A conformance kit of the trainer: it checks what every objective and adapter promises, for all parts of a package.

In a test module of the package, one call makes one test per check and part:

    from dragon_train.testing import conformance

    test_conformance = conformance("dragon-adapter-mine", {"mine": small_pipeline})

Listing the checks loads the registry and builds nothing.

An objective is tried on the embedded pipeline, in a step of four prompts. An adapter is tried on a small pipeline of
its class with random weights, which a function of the package's tests builds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.testing.kit import Check, Kit, as_test
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dragon_train.registry import TrainRegistry

__all__ = ["Check", "checks", "conformance"]

PACKAGE = ("registering builds nothing",)
OBJECTIVE = ("facts", "units", "losses", "gradients", "deterministic", "learns")
ADAPTER = (
    "facts",
    "adapts",
    "samples",
    "own prompt and seed",
    "gradient of samples",
    "decodes",
    "writes",
    "prompts matter",
    "denoises",
)


@dataclass(frozen=True, eq=False)
class Given:
    """What the checks of a part are given beside its name.

    Attributes:
        registry: where the part is.
        pipelines: by the name of an adapter, a function that builds a small pipeline of its class.
    """

    registry: TrainRegistry
    pipelines: Mapping[str, Callable[[], Any]]


def conformance(package: str, pipelines: Mapping[str, Callable[[], Any]] | None = None) -> Callable[[Check], None]:
    """Return a pytest test with one case per check of `checks`; bind it to a name that begins with `test`."""
    return as_test(checks(package, pipelines))


def checks(
    package: str,
    pipelines: Mapping[str, Callable[[], Any]] | None = None,
    registry: TrainRegistry | None = None,
) -> list[Check]:
    """Return the checks of all objectives and adapters that a distribution registers; builds nothing.

    The list is never empty: a package that is not installed or registers neither, and each of its plugins that failed
    to load, is a check that fails and says so.

    Args:
        package: the distribution's name, as pip knows it.
        pipelines: by the name of an adapter, a function that builds a small pipeline of its class.
        registry: where its parts are; by default all that is installed.

    Example:
        >>> [check.name for check in checks("dragon-rewards") if check.part == "objective dpo"][:3]
        ['facts', 'units', 'losses']
    """
    registry = registry or load_train_registry()
    return KIT.checks(package, registry, Given(registry, pipelines or {}))


KIT = Kit(
    home=__name__,
    group="dragon_train",
    package=PACKAGE,
    families={
        "register_objectives": lambda *_: {"objective": OBJECTIVE},
        "register_adapters": lambda *_: {"adapter": ADAPTER},
    },
)
