"""Say where the user's own exemplar sets are, and statistics that the user made of installed sets."""

from __future__ import annotations

import os
from pathlib import Path

from dragon_rewards.errors import ConfigError

VARIABLE = "DRAGON_EXEMPLARS"
OF_INSTALLED = ".installed"  # no name of a set begins with a dot


def data_folder() -> Path:
    """Return the folder of what the user has made: `dragon-rewards` in the user's data folder.

    Raises:
        ConfigError: there is no home directory to find it in.
    """
    try:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise ConfigError(f"no home for exemplar sets ({error}); set {VARIABLE} to a folder") from error
    return Path(data) / "dragon-rewards"


def sets_folder() -> Path:
    """Return the folder of the user's sets.

    It is `$DRAGON_EXEMPLARS`, or by default `dragon-rewards/exemplars` in the user's data folder.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    own = os.environ.get(VARIABLE)
    return Path(own) if own else data_folder() / "exemplars"


def made_statistics(name: str, space: str) -> Path | None:
    """Return the path of the statistics that the user makes of the installed set `name` in the space of an encoder.

    Without a home directory to find it in it is None.
    """
    try:
        return sets_folder() / OF_INSTALLED / name / f"{space}.safetensors"
    except ConfigError:
        return None
