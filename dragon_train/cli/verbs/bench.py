"""The verb `dragon bench`: tune once for each reward of a suite, and report win rates."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_train.cli.completion import presets, suites
from dragon_train.cli.completion import rewards as all_rewards
from dragon_train.cli.options import (
    Cpus,
    Device,
    Gpus,
    Json,
    Launcher,
    Memory,
    PresetPipeline,
    PresetPrompts,
    Wide,
    Workers,
    seed_option,
)
from dragon_train.cli.printing import print_rows

MAIN = ("run", "change", "holm", "win_rate", "lower", "before", "after", "effect", "direction", "served")
MAIN_OF_SEEDS = ("run", "change", "change_sd", "win_rate", "win_rate_sd", "heldout", "heldout_sd")


def bench(
    suite: Annotated[
        str,
        typer.Option(
            help="Name of a suite, or a TOML file, which `dragon list suites` explains.", autocompletion=suites
        ),
    ] = "dragon20",
    preset: Annotated[
        str, typer.Option(help="quick, full, dpo, ablation, or a TOML file.", autocompletion=presets)
    ] = "quick",
    rewards: Annotated[
        list[str] | None, typer.Option(help="Tune only these of the suite's rewards.", autocompletion=all_rewards)
    ] = None,
    pipeline: PresetPipeline = None,
    prompts: PresetPrompts = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; default runs/bench-<preset>[-seeds].")] = None,
    seed: Annotated[int | None, seed_option("Seed of everything random; default 0.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Several seeds, as 0,1,2: a benchmark of each, and a table over them.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option(help="Folder of real held-out clips, to see how far from music the models are.")
    ] = None,
    launcher: Launcher = "local",
    workers: Workers = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    device: Device = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Compare on the prompts by which settings are chosen, not the exam's.")
    ] = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Run the benchmark; the same command again resumes where it stopped."""
    from dragon_train.bench.commands import run_bench
    from dragon_train.bench.launchers import Resources, make_launcher
    from dragon_train.bench.seeds import chosen_seeds

    engine = partial(make_launcher, launcher, workers, Resources(cpus, gpus, memory), device)
    parts = suite, preset, rewards or [], pipeline, prompts, out, chosen_seeds(seed, seeds), real, engine
    rows = run_bench(*parts, role="watch" if watch else "exam")
    print_rows(rows, as_json=as_json, wide=wide, main=MAIN if seeds is None else MAIN_OF_SEEDS)
