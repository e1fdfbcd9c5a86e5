"""What verbs share: a run's settings, and what those that generate are given, a pipeline and prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import ConfigError
from dragon_rewards.weights import require_weights
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.catalogue import PipelineInfo
    from dragon_train.config import TrainConfig

ConfigFile = Annotated[Path | None, typer.Argument(help="TOML file of settings; options override it.")]
PromptFile = Annotated[Path | None, typer.Option(help="Text file of prompts, one per line.")]


def chosen_pipeline(name: str | None, run: Path | None) -> PipelineInfo:
    """The pipeline of this name, or the one that a run tuned, or the embedded one.

    Raises:
        UnknownNameError: there is none of this name.
        WeightsError: its weights are not on this machine.
    """
    config = run / "config.json" if run else None
    if name is None and config is not None and config.is_file():
        from dragon_train.run import stored_config  # imports torch, which a run needs in any case

        name = stored_config(config.parent).pipeline
    info = load_train_registry().pipeline(name or "embedded")
    require_weights(f"pipeline '{info.name}'", info.weights)
    return info


def given_prompts(prompts: Sequence[str], file: Path | None) -> Sequence[str]:
    """The prompts of the command line, or those of a file.

    Raises:
        ConfigError: neither or both are given, the file cannot be read, or a prompt is empty.
    """
    from dragon_train.prompt_lists import read_prompts

    if bool(prompts) == bool(file):
        raise ConfigError("give prompts, or --prompts and a text file of them, and not both")
    texts = read_prompts(file) if file else prompts
    if not all(text.strip() for text in texts):
        raise ConfigError("a prompt is empty; describe the music, for example 'a slow hymn on the organ'")
    return texts


def configured(file: Path | None, given: Mapping[str, Any], verb: str) -> TrainConfig:
    """The settings of a file, overridden by those of the command line.

    Raises:
        ConfigError: the file cannot be read, or a setting is none or has no such value.
    """
    from dragon_train.config import read_config, train_config

    return train_config({**(read_config(file) if file else {}), **given}, str(file or verb))
