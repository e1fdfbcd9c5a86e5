"""The verb `dragon estimate`: what a run takes, in memory and in time, before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import ConfigError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.terminal.printable import json_text
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.completion import cards
from dragon_train.cli.options import ConfigFile, Device, Json, PromptFile, Wide
from dragon_train.cli.printing import print_rows
from dragon_train.cli.settings import configured, with_settings
from dragon_train.estimate.cards import find_card
from dragon_train.objectives.configured import completed
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from dragon_train.estimate.summary import Report

Card = Annotated[
    str | None,
    typer.Option(help="A card that need not be here, as in rtx-4090; instead of --device.", autocompletion=cards),
]
Measure = Annotated[bool, typer.Option("--measure", help="Also load, take two steps, and print what the second took.")]

COUNTED = (
    "pipeline",
    "reward",
    "objective",
    "tuning",
    "precision",
    "prompts_per_step",
    "demonstration_steps",
    "guidance",
    "sampling_batch",
    "microbatch",
    "gradient_checkpointing",
    "heldout_prompts",
)


@with_settings(*COUNTED)
def estimate(
    config: ConfigFile = None,
    card: Card = None,
    device: Device = None,
    prompts: PromptFile = None,
    *,
    measure: Measure = False,
    as_json: Json = False,
    wide: Wide = False,
    given: dict[str, Any],
) -> None:
    """Count what a run takes: memory and time by phase, from the pipeline's architecture alone."""
    least = {} if config else {"reward": "vendi:logmel"}  # whose encoder is small and always there
    checked, known = completed(configured(config, {**least, **given}, "dragon estimate")), card and find_card(card)
    if known and (device or measure):
        raise ConfigError("--card names a card that need not be here; leave out --device and --measure")
    load_train_registry().pipeline(checked.pipeline)
    compose_mixture(checked.reward)
    from dragon_train.estimate.summary import report  # imports torch: wrong names are refused by now

    with progress("estimating", "runs", 1):
        found = report(checked, prompts, known or None, device, measure=measure)
    if as_json:
        print(json_text(found.to_json()))
    else:
        show(found, wide=wide)


def show(found: Report, *, wide: bool) -> None:
    """Print the tables of an estimate, and below them what they rest on."""
    print_rows(found.rows(), as_json=False, wide=wide)
    print()
    held: list[dict[str, Any]] = [{"held": name, "memory_gb": size / 1e9} for name, size in found.estimate.held.items()]
    print_rows(held, as_json=False, wide=wide)
    print()
    for line in found.notes():
        print(line)
