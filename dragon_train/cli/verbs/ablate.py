"""The verb `dragon ablate`: grids of tuning runs, and studies without training, with their tables and figures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dragon_rewards.terminal.printable import json_text
from dragon_train.cli.completion import ablations
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
)
from dragon_train.cli.printing import print_rows


def ablate(
    name: Annotated[
        str | None,
        typer.Argument(help="A shipped ablation, or a TOML file; none lists them.", autocompletion=ablations),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results; ablations in it share their runs.")] = Path(
        "runs/ablations"
    ),
    pipeline: PresetPipeline = None,
    prompts: PresetPrompts = None,
    launcher: Launcher = "local",
    workers: Workers = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    device: Device = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells, and which are there already.")] = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Answer a question by a grid of runs; the same command again resumes, and a finished cell is never run again."""
    from dragon_train.bench.commands import list_ablations, list_cells, run_ablate

    if name is None:
        print_rows(list_ablations(), as_json=as_json, wide=wide)
    elif dry_run:
        print_rows(list_cells(name, out, pipeline, prompts), as_json=as_json, wide=wide)
    else:
        from dragon_train.bench.launchers import Resources, make_launcher

        engine = partial(make_launcher, launcher, workers, Resources(cpus, gpus, memory), device)
        tables = run_ablate(name, out, pipeline, prompts, engine)
        if as_json:
            print(json_text(tables))
        for title, rows in tables.items() if not as_json else ():
            print(f"\n{title}\n")
            print_rows(rows, as_json=False, wide=wide)
