"""The folder of the user's own data, in which exemplar sets and heads are kept."""

from __future__ import annotations

import os
from pathlib import Path

from dragon_rewards.errors import ConfigError


def data_folder(name: str, variable: str) -> Path:
    """Return the folder `$variable`, or by default `dragon-rewards/name` in the user's data folder.

    Raises:
        ConfigError: there is no home directory to put the default folder in.
    """
    own = os.environ.get(variable)
    if own:
        return Path(own)
    try:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise ConfigError(f"no home for {name} ({error}); set {variable} to a folder") from error
    return Path(data) / "dragon-rewards" / name
