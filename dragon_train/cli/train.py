"""`dragon train`: tune a pipeline toward a reward."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated, Any

import typer

from dragon_rewards.cli import app
from dragon_rewards.cli.device import Device  # noqa: TC001  typer reads it


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(help="TOML file of settings; options override it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<reward>.")] = None,
    reward: Annotated[str | None, typer.Option(help="A reward, or 'A + 0.5 * B'; see `dragon list rewards`.")] = None,
    at_least: Annotated[list[str] | None, typer.Option(help="A reward that is not to fall; repeatable.")] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="A name of `dragon list pipelines`, a saved pipeline's folder, or owner/name.")
    ] = None,
    objective: Annotated[str | None, typer.Option(help="Name of the objective, see `dragon list objectives`.")] = None,
    pairing: Annotated[str | None, typer.Option(help="paired or unpaired.")] = None,
    tuning: Annotated[str | None, typer.Option(help="lora or all.")] = None,
    precision: Annotated[str | None, typer.Option(help="no, bf16 or fp16.")] = None,
    steps: Annotated[int | None, typer.Option(help="On-policy steps.")] = None,
    prompts_per_step: Annotated[int | None, typer.Option(help="Clips in each of the two sets of a step.")] = None,
    demonstration_steps: Annotated[int | None, typer.Option(help="Diffusion steps of on-policy clips.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Classifier-free guidance of on-policy clips.")] = None,
    sampling_batch: Annotated[int | None, typer.Option(help="Most clips sampled or decoded at once.")] = None,
    microbatch: Annotated[int | None, typer.Option(help="Most pairs learnt from at once; lower saves memory.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW.")] = None,
    beta: Annotated[float | None, typer.Option(help="Pull toward the reference.")] = None,
    pool: Annotated[int | None, typer.Option(help="Earlier steps counted beside a set; 0 is the paper's rule.")] = None,
    heldout: Annotated[list[str] | None, typer.Option(help="A reward to watch only; repeatable.")] = None,
    heldout_prompts: Annotated[int | None, typer.Option(help="Prompts kept from training, to compare on.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file of prompts, one per line.")] = None,
    device: Device = None,
) -> None:
    """Tune a pipeline toward a reward; the same command again resumes an interrupted run."""
    from dragon_train.config import read_config, train_config

    given = {
        "reward": reward,
        "at_least": at_least,
        "pipeline": pipeline,
        "objective": objective,
        "pairing": pairing,
        "tuning": tuning,
        "precision": precision,
        "steps": steps,
        "prompts_per_step": prompts_per_step,
        "demonstration_steps": demonstration_steps,
        "guidance": guidance,
        "sampling_batch": sampling_batch,
        "microbatch": microbatch,
        "learning_rate": learning_rate,
        "beta": beta,
        "pool": pool,
        "heldout": heldout,
        "heldout_prompts": heldout_prompts,
        "seed": seed,
    }
    values: dict[str, Any] = read_config(config) if config else {}
    values |= {key: value for key, value in given.items() if value is not None}
    checked = train_config(values, str(config or "dragon train"))
    from dragon_train.console import leads
    from dragon_train.session import run_training

    folder = run_training(checked, prompts, out, device)
    if leads():
        print(folder)
