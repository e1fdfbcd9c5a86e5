"""The examples in the docstrings of every installed module."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

import dragon_rewards
import dragon_train

if TYPE_CHECKING:
    from types import ModuleType


def modules_of(package: ModuleType) -> list[str]:
    """The package and every module below it; importing a `__main__` would run it."""
    below = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    return [package.__name__, *(module.name for module in below if not module.name.endswith(".__main__"))]


@pytest.mark.parametrize("name", modules_of(dragon_rewards) + modules_of(dragon_train))
def test_examples_hold(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_walk_reaches_modules_with_examples() -> None:
    names = modules_of(dragon_rewards)
    assert {"dragon_rewards.rewards", "dragon_rewards.metrics.frechet", "dragon_rewards.media.clips"} <= set(names)
    assert doctest.testmod(import_module("dragon_rewards.names")).attempted
