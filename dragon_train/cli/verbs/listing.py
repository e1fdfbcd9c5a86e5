"""The verbs `dragon list`: show the parts that are installed."""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import typer

from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose, valid_names
from dragon_rewards.suites import EXAMPLE, builtin_suites
from dragon_rewards.terminal.printable import counted
from dragon_train.cli.options import Json, Wide
from dragon_train.cli.printing import print_rows
from dragon_train.cli.verbs.plugins import all_failures
from dragon_train.estimate.cards import smallest
from dragon_train.models import models
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_rewards.suites import Suite
    from dragon_train.models import Model

Row = dict[str, Any]

listing = typer.Typer(no_args_is_help=True, help="List what is installed.")


def list_command(name: str, rows: Callable[[], Sequence[Row]], *main: str) -> None:
    """Add `dragon list NAME`, which prints rows.

    Args:
        name: of the verb.
        rows: makes the rows; its docstring is the help of the verb.
        main: keys in the order of their worth, as for `print_rows`.
    """

    def command(*, as_json: Json = False, wide: Wide = False) -> None:
        print_rows(rows(), as_json=as_json, wide=wide, main=main)
        warn_of_failures()

    listing.command(name, help=rows.__doc__)(command)


def warn_of_failures() -> None:
    """Say on stderr that plugins were left out, as a list that lacks their parts would seem complete."""
    failures = all_failures()
    if failures:
        names = ", ".join(failure.plugin for failure in failures)
        failed = counted(len(failures), "plugin")
        print(f"{failed} failed to load: see `dragon plugins`; left out: {names}", file=sys.stderr)


def encoders() -> list[Row]:
    """List the encoders, which turn audio, images or text into embeddings."""
    registry = load_registry()
    return [
        {
            "name": info.name,
            "modalities": sorted(info.modalities),
            "dim": info.dim,
            "sample_rate": info.sample_rate,
            "licence": info.licence,
            "package": registry.owners["register_encoders", info.name].package,
            "summary": info.summary,
        }
        for info in registry.encoders.values()
    ]


def exemplar_sets() -> list[Row]:
    """List the exemplar sets: named reference examples."""
    registry = load_registry()
    return [
        {
            "name": info.name,
            "modality": info.modality,
            "count": info.count,
            "licence": info.licence,
            "package": registry.owners["register_exemplar_sets", info.name].package,
            "summary": info.summary,
        }
        for info in registry.exemplar_sets.values()
    ]


def reductions() -> list[Row]:
    """List the reductions, which turn embeddings into numbers."""
    registry = load_registry()
    return [
        {
            "name": info.name,
            "kind": info.kind,
            "direction": info.direction,
            "needs": ["exemplar set"] * info.needs_reference + ["prompts"] * info.needs_prompts,
            "minimum_clips": info.minimum_clips,
            "encoders": sorted(info.encoders),
            "package": registry.owners["register_reductions", info.name].package,
            "summary": info.summary,
        }
        for info in registry.reductions.values()
    ]


def rewards() -> list[Row]:
    """List every reward that composes from what is installed."""
    registry = load_registry()
    composed = [compose(str(name), registry) for name in valid_names(registry)]
    return [{"name": reward.name, "kind": reward.kind, "metric": reward.direction} for reward in composed]


def pipelines() -> list[Row]:
    """List the diffusion pipelines that can be tuned, and what published ones take of a card, in GB of 10^9 bytes."""
    infos, known = load_train_registry().pipelines.values(), models()
    return [
        {"name": info.name, "licence": info.licence, "summary": info.summary, **_card(known.get(info.name))}
        for info in infos
    ]


def _card(model: Model | None) -> Row:
    """Return the memory that tuning and sampling a model take, and the smallest cards that have it, where counted."""
    needs = {"tune": model.tune_gb, "sample": model.sample_gb} if model else {"tune": None, "sample": None}
    return {f"{what}_gb": need for what, need in needs.items()} | {
        f"{what}_on": None if need is None else smallest(need) for what, need in needs.items()
    }


def adapters() -> list[Row]:
    """List the pipeline classes of diffusers that can be tuned: name a saved folder, or owner/name on the hub."""
    infos = load_train_registry().adapters.values()
    return [{"name": info.name, "pipeline_class": info.pipeline_class, "summary": info.summary} for info in infos]


def objectives() -> list[Row]:
    """List the losses that move a policy toward its demonstrations."""
    return [
        {
            "name": info.name,
            "paired_only": info.paired_only,
            "options": [f"{each.name} = {each.default}" for each in fields(info.options)] if info.options else [],
            "summary": info.summary,
        }
        for info in load_train_registry().objectives.values()
    ]


@listing.command()
def suites(*, as_json: Json = False, wide: Wide = False) -> None:
    """List the suites, named lists of rewards to benchmark, and show how to write one."""
    if as_json:
        print_rows(list(map(_suite, builtin_suites().values())), as_json=True)
        return
    for suite in builtin_suites().values():
        print(f"{suite.name}: {suite.summary}\n")
        slots = [{"reward": slot.reward, "stands_in_if_not_installed": slot.stand_in} for slot in suite.slots]
        print_rows(slots, as_json=False, wide=wide)
    print(f"\nOne of your own is a file, here mine.toml, for `dragon bench --suite mine.toml`:\n\n{EXAMPLE}", end="")


def _suite(suite: Suite) -> Row:
    return {"name": suite.name, "rewards": [slot.reward for slot in suite.slots], "summary": suite.summary}


list_command("encoders", encoders, "name", "modalities", "dim", "summary")
list_command("exemplar-sets", exemplar_sets, "name", "modality", "count", "summary")
list_command("reductions", reductions, "name", "direction", "summary", "needs")
list_command("rewards", rewards)
list_command("pipelines", pipelines, "name", "summary", "tune_gb", "licence", "tune_on")
list_command("adapters", adapters, "pipeline_class", "summary", "name")
list_command("objectives", objectives, "name", "summary", "options")
