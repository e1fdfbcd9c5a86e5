"""The settings of a run that verbs share: a file of them, overridden by options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_train.cli.files import PROMPTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_train.config import TrainConfig

ConfigFile = Annotated[Path | None, typer.Argument(help="TOML file of settings; options override it.")]
PromptFile = Annotated[Path | None, typer.Option("--prompts", help=PROMPTS)]


def configured(file: Path | None, given: Mapping[str, Any], verb: str) -> TrainConfig:
    """Return the settings in a file, overridden by the settings on the command line.

    Args:
        file: TOML file of settings, or None.
        given: the settings of the command line, by name.
        verb: what messages call the command line, where there is no file.

    Raises:
        ConfigError: the file cannot be read, or a setting is unknown or has a value that it does not allow.
    """
    from dragon_train.config import read_config, train_config

    return train_config({**(read_config(file) if file else {}), **given}, str(file or verb))
