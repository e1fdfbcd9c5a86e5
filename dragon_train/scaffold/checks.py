"""Refuse names of a new plugin that pip or Python would not take, or that something else has."""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.packages import BROUGHT
from dragon_rewards.registry import load_registry
from dragon_train.registry import load_train_registry
from dragon_train.scaffold.kinds import FACTS, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.scaffold.kinds import Names

# Of what pip and the registries take (PEP 503), the names that are a Python module's with '_' for '-'.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_new(names: Names, folder: Path) -> None:
    """Refuse the names of a new package that cannot be used.

    Args:
        names: the names.
        folder: the folder that the package is to be written to.

    Raises:
        DragonError: the name is malformed, there is a part or a package of this name, or the folder exists.
    """
    _check_form(names)
    _check_part(names)
    _check_package(names)
    if folder.exists():
        raise DragonError(f"'{folder}' is there already; give another name, or remove it")


def _check_form(names: Names) -> None:
    if not NAME.fullmatch(names.name):
        raise DragonError(
            f"'{names.name}' is no name of a plugin: use lower-case letters and digits, with single '-' between, as in "
            "'spectral-flux'"
        )
    if names.name.startswith("dragon-"):
        raise DragonError(
            f"'{names.name}': give the name of the {names.kind} alone, as in 'mine'; its package is then called "
            f"'{FACTS[names.kind].prefix}mine'"
        )


def _check_part(names: Names) -> None:
    owners = {**load_registry().owners, **load_train_registry().owners}
    owner = owners.get((FACTS[names.kind].hook, names.name))
    if owner is not None:
        raise DragonError(
            f"{names.kind} '{names.name}' is there already, of package {owner.package}; give another name"
        )
    bringing = [package for package, encoders in BROUGHT.items() if names.name in encoders]
    if names.kind is Kind.ENCODER and bringing:
        raise DragonError(f"encoder '{names.name}' is what package {bringing[0]} brings; give another name")


def _check_package(names: Names) -> None:
    if names.package in BROUGHT:
        raise DragonError(f"package '{names.package}' is one of dragon-rewards; give another name")
    try:
        version = metadata.version(names.package)
    except metadata.PackageNotFoundError:
        return
    raise DragonError(f"package '{names.package}' {version} is installed; give another name, or pip uninstall it")
