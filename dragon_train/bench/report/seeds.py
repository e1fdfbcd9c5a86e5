"""Show a benchmark over several seeds: its tables, and the way to the page of each seed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dragon_rewards.storage.dataframes import Column, read_csv
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.report.comparison import run_table
from dragon_train.bench.report.further_tables import further_sections
from dragon_train.bench.report.source import RUN, UNFINISHED, filled, read_further
from dragon_train.bench.report.view import Cell, Fact, PageView, Section, Table
from dragon_train.bench.result_files import SEEDS

if TYPE_CHECKING:
    from pathlib import Path

NOTE = (
    "Means over the seeds, and below each the standard deviation between seeds, of a single seed and not of the mean. "
    "The change is tuned less untuned, in the units of the reward."
)
PAGES = "Each seed is a benchmark of its own: of training and of the clips that are compared."


def seeds_page(folder: Path, page: str, beside: Path) -> PageView:
    """Make the content of the page of a benchmark over several seeds.

    Args:
        folder: of its tables, and of a folder `seed-N` for each seed.
        page: name of the page of a seed in its folder.
        beside: folder that this page will lie in.

    Raises:
        DragonError: a table cannot be read, or is empty.
    """
    file = folder / f"{SEEDS}.csv"
    table = filled(read_csv(file, RUN, UNFINISHED, rest=Column.FIGURE), file)
    seeds = sorted((path for path in folder.glob("seed-*") if path.is_dir()), key=lambda path: (len(path.name), path))
    pages = Table("Pages of the seeds", ("seed", "page"), tuple(seed_row(seed, page, beside) for seed in seeds))
    runs = run_table("Runs, over the seeds", table)
    return PageView(
        title=f"Benchmark over {counted(len(seeds), 'seed')}",
        lead=f"Tuned once for each of {counted(len(table), 'reward')} and each seed, and compared with the untuned "
        "model.",
        facts=(Fact("rewards", Cell(str(len(table)), len(table))), Fact("seeds", Cell(str(len(seeds)), len(seeds)))),
        sections=(
            *further_sections(read_further(folder)),
            Section("seeds", "Runs, over the seeds", "Runs", (NOTE,), table=runs),
            Section("pages", "Each seed", "Each seed", (PAGES,), table=pages),
        ),
        settings=(),
    )


def seed_row(seed: Path, page: str, beside: Path) -> tuple[Cell, Cell]:
    """Return a seed with a link to its page, or with the command that makes one."""
    name = Cell(seed.name.removeprefix("seed-"))
    if not (seed / page).is_file():
        return name, Cell(f"none yet: dragon report {seed}")
    address = os.path.relpath(seed / page, beside).replace(os.sep, "/")
    return name, Cell(f"{seed.name}/{page}", link=address)
