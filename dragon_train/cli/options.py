"""What verbs share: the settings of a run."""

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
    """The settings of a file, overridden by those of the command line.

    Raises:
        ConfigError: the file cannot be read, or a setting is none or has no such value.
    """
    from dragon_train.config import read_config, train_config

    return train_config({**(read_config(file) if file else {}), **given}, str(file or verb))
