"""The verb `dragon train`: tune a pipeline toward a reward."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated, Any

import typer

from dragon_train.cli.completion import presets
from dragon_train.cli.options import ConfigFile, Device, PromptFile
from dragon_train.cli.settings import ALL, configured, with_settings
from dragon_train.config_text import as_toml
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

EXAMPLE = "vendi:clap"  # in a file of settings that is printed without a reward


@with_settings(*ALL)
def train(
    config: ConfigFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<reward>.")] = None,
    prompts: PromptFile = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset of `dragon bench`, or a TOML file of one: its settings for this reward, and the rewards "
            "that it maximises beside it. CONFIG and options override it.",
            autocompletion=presets,
        ),
    ] = None,
    device: Device = None,
    *,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as a TOML file for CONFIG, and train nothing.")
    ] = False,
    given: dict[str, Any],
) -> None:
    """Tune a pipeline toward a reward; the same command again resumes an interrupted run."""
    least = {"reward": EXAMPLE} if print_config and not config else {}
    checked = configured(config, {**least, **given}, "dragon train", preset)
    if print_config:
        print(as_toml(completed(checked), load_train_registry().objective(checked.objective).options), end="")
        return
    from dragon_train.loop.ranks import leads
    from dragon_train.session import run_training

    folder = run_training(checked, prompts, out, device)
    if leads():
        print(folder)
