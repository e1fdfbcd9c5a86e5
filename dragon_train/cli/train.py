"""`dragon train`: tune a pipeline toward a reward."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_rewards.cli import app
from dragon_rewards.cli.device import Device  # noqa: TC001  typer reads it
from dragon_train.cli.options import (
    ConfigFile,
    DemonstrationSteps,
    Guidance,
    HeldoutPrompts,
    Microbatch,
    Objective,
    PipelineName,
    Precision,
    PromptFile,
    PromptsPerStep,
    RewardName,
    SamplingBatch,
    Tuning,
    configured,
)


@app.command()
def train(
    config: ConfigFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/<reward>.")] = None,
    reward: RewardName = None,
    at_least: Annotated[list[str] | None, typer.Option(help="A reward that is not to fall; repeatable.")] = None,
    pipeline: PipelineName = None,
    objective: Objective = None,
    pairing: Annotated[str | None, typer.Option(help="paired or unpaired.")] = None,
    tuning: Tuning = None,
    precision: Precision = None,
    steps: Annotated[int | None, typer.Option(help="On-policy steps.")] = None,
    prompts_per_step: PromptsPerStep = None,
    demonstration_steps: DemonstrationSteps = None,
    guidance: Guidance = None,
    sampling_batch: SamplingBatch = None,
    microbatch: Microbatch = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW.")] = None,
    beta: Annotated[float | None, typer.Option(help="Pull toward the reference.")] = None,
    pool: Annotated[int | None, typer.Option(help="Earlier steps counted beside a set; 0 is the paper's rule.")] = None,
    heldout: Annotated[list[str] | None, typer.Option(help="A reward to watch only; repeatable.")] = None,
    heldout_prompts: HeldoutPrompts = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    prompts: PromptFile = None,
    device: Device = None,
) -> None:
    """Tune a pipeline toward a reward; the same command again resumes an interrupted run."""
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
    checked = configured(config, given, "dragon train")
    from dragon_train.console import leads
    from dragon_train.session import run_training

    folder = run_training(checked, prompts, out, device)
    if leads():
        print(folder)
