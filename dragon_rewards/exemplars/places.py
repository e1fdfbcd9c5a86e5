"""Say where the user's own exemplar sets are, and statistics that the user made of installed sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.user_data import data_folder

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "DRAGON_EXEMPLARS"
OF_INSTALLED = ".installed"  # no name of a set begins with a dot


def sets_folder() -> Path:
    """Return the folder of the user's sets.

    It is `$DRAGON_EXEMPLARS`, or by default `dragon-rewards/exemplars` in the user's data folder.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    return data_folder("exemplars", VARIABLE)


def all_made_statistics() -> list[Path]:
    """Return the paths of all statistics that the user made of installed sets.

    Raises:
        ConfigError: there is no home directory to find them in.
    """
    return sorted((sets_folder() / OF_INSTALLED).glob("*/*.safetensors"))


def made_statistics(name: str, space: str) -> Path | None:
    """Return the path of the statistics that the user makes of the installed set `name` in the space of an encoder.

    Without a home directory to find it in it is None.
    """
    try:
        return sets_folder() / OF_INSTALLED / name / f"{space}.safetensors"
    except ConfigError:
        return None
