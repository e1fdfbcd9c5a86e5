"""`dragon estimate`: what a run takes, in memory and in time, before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.cli.device import Device  # noqa: TC001  typer reads it
from dragon_rewards.shown import json_text
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

if TYPE_CHECKING:
    from dragon_train.estimate.report import Report

Card = Annotated[str | None, typer.Option(help="A card that need not be here, as in rtx-4090; instead of --device.")]
Checkpointing = Annotated[bool | None, typer.Option(help="Compute activations twice rather than keep them.")]
Measure = Annotated[bool, typer.Option("--measure", help="Also load, take two steps, and print what the second took.")]


@app.command()
def estimate(
    config: ConfigFile = None,
    pipeline: PipelineName = None,
    reward: RewardName = None,
    objective: Objective = None,
    tuning: Tuning = None,
    precision: Precision = None,
    prompts_per_step: PromptsPerStep = None,
    demonstration_steps: DemonstrationSteps = None,
    guidance: Guidance = None,
    sampling_batch: SamplingBatch = None,
    microbatch: Microbatch = None,
    gradient_checkpointing: Checkpointing = None,
    heldout_prompts: HeldoutPrompts = None,
    card: Card = None,
    device: Device = None,
    prompts: PromptFile = None,
    *,
    measure: Measure = False,
    as_json: Json = False,
) -> None:
    """Count what a run takes: memory and time by phase, from the pipeline's architecture alone."""
    given = {
        "pipeline": pipeline,
        "reward": reward if reward or config else "vendi:logmel",  # whose encoder is small and always there
        "objective": objective,
        "tuning": tuning,
        "precision": precision,
        "prompts_per_step": prompts_per_step,
        "demonstration_steps": demonstration_steps,
        "guidance": guidance,
        "sampling_batch": sampling_batch,
        "microbatch": microbatch,
        "gradient_checkpointing": gradient_checkpointing,
        "heldout_prompts": heldout_prompts,
    }
    checked = configured(config, given, "dragon estimate")
    from dragon_train.estimate.report import report

    found = report(checked, prompts, card, device, measure=measure)
    if as_json:
        print(json_text(found.to_json()))
    else:
        show(found)


def show(found: Report) -> None:
    """Tables, and below them what they rest on."""
    print_rows(found.rows(), as_json=False)
    print()
    held: list[dict[str, Any]] = [{"held": name, "memory_gb": size / 1e9} for name, size in found.estimate.held.items()]
    print_rows(held, as_json=False)
    print()
    for line in found.notes():
        print(line)
