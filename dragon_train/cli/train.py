"""`dragon train`: tune a pipeline toward a reward."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated, Any

import typer

from dragon_rewards.cli import app


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="TOML file of settings; options override it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<reward>.")] = None,
    reward: Annotated[str | None, typer.Option(help="Name of the reward, see `dragon list rewards`.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Name of the pipeline, see `dragon list pipelines`.")] = None,
    objective: Annotated[str | None, typer.Option(help="Name of the objective, see `dragon list objectives`.")] = None,
    pairing: Annotated[str | None, typer.Option(help="paired or unpaired.")] = None,
    tuning: Annotated[str | None, typer.Option(help="all or lora.")] = None,
    steps: Annotated[int | None, typer.Option(help="On-policy steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW.")] = None,
    beta: Annotated[float | None, typer.Option(help="Pull toward the reference.")] = None,
    pool: Annotated[int | None, typer.Option(help="Earlier steps counted beside a set; 0 is the paper's rule.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file of prompts, one per line.")] = None,
) -> None:
    """Tune a pipeline toward a reward; the same command again resumes an interrupted run."""
    from dragon_train.config import read_config, train_config

    given = {
        "reward": reward,
        "pipeline": pipeline,
        "objective": objective,
        "pairing": pairing,
        "tuning": tuning,
        "steps": steps,
        "learning_rate": learning_rate,
        "beta": beta,
        "pool": pool,
        "seed": seed,
    }
    values: dict[str, Any] = read_config(config) if config else {}
    values |= {key: value for key, value in given.items() if value is not None}
    checked = train_config(values, str(config or "dragon train"))
    from dragon_train.session import run_training

    print(run_training(checked, prompts, out))
