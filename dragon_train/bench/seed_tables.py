"""Make the tables over benchmarks of several seeds: of each run the mean and the deviation between seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.storage.dataframes import Column, read_csv
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.results import known, write_table
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.collateral import TEXT
from dragon_train.bench.headline import FIGURES, RUN, UNFINISHED, described, headline, read_outcomes
from dragon_train.bench.result_files import COLLATERAL, HEADLINE, SEEDS
from dragon_train.bench.tables import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_train.bench.benchmark import Benchmark

NOTE = (
    "Means over the seeds, and beside each, as `_sd`, the standard deviation between seeds, of a single seed and not "
    "of the mean. `change` is the raw metric after less before, `win_rate` the win rate under the own reward, "
    "`heldout` the mean win rate under the rewards that are held out from the run."
)


def write_seeds(out: Path, benchmarks: Sequence[Benchmark]) -> list[dict[str, Any]]:
    """Write the tables (CSV, Markdown) and README.md over finished benchmarks; return the rows of the table of runs.

    Args:
        out: the folder, in which the benchmarks are.
        benchmarks: of one seed each, and alike otherwise.

    Raises:
        DragonError: a table of a benchmark is missing or cannot be read.
    """
    found = read_outcomes(benchmarks)
    table, summed = over_seeds(found), headline(found)
    write_table(out / SEEDS, table)
    write_table(out / HEADLINE, summed)
    beside = collateral_over_seeds(benchmarks)
    if beside is not None:
        write_table(out / COLLATERAL, beside)
    write_text(out / "README.md", page(benchmarks, table, summed, beside))
    return [{str(column): value for column, value in row.items()} for row in known(table).to_dict("records")]


def over_seeds(found: pd.DataFrame) -> pd.DataFrame:
    """Return by run the number of seeds, and mean and standard deviation of the change and of each figure.

    Args:
        found: rows of `headline.outcomes`, of all seeds.
    """
    runs = found.groupby("run", sort=False)
    columns: dict[str, pd.Series[Any]] = {"seeds": runs["seed"].nunique()}
    for figure in ("change", *FIGURES):
        if figure in found:
            columns |= {figure: runs[figure].mean(), f"{figure}_sd": runs[figure].std()}
    return pd.DataFrame(columns).reset_index()


def collateral_over_seeds(benchmarks: Sequence[Benchmark]) -> pd.DataFrame | None:
    """Return the mean over seeds of each model's collateral, untuned first; None where a seed has none.

    Raises:
        DragonError: a table cannot be read.
    """
    files = [each.out / f"{COLLATERAL}.csv" for each in benchmarks]
    if not all(file.exists() for file in files):
        return None
    tables = [read_csv(file, RUN, UNFINISHED, rest=Column.FIGURE) for file in files]
    return pd.concat(tables).groupby("run", sort=False).mean().reset_index()


def page(
    benchmarks: Sequence[Benchmark], table: pd.DataFrame, summed: pd.DataFrame, beside: pd.DataFrame | None
) -> str:
    """Return the page over benchmarks of several seeds in Markdown."""
    seeds = ", ".join(f"[{each.seed}]({each.out.name}/README.md)" for each in benchmarks)
    return "\n\n".join(
        [
            f"# {benchmarks[0].title}, {counted(len(benchmarks), 'seed')}",
            described(summed),
            f"Each seed is a benchmark of its own, of training and of the held-out generations: {seeds}.",
            f"## Runs\n\n{NOTE}\n\n{markdown(table)}\n",
            *([] if beside is None else [f"## Collateral, means over the seeds\n\n{TEXT}\n\n{markdown(beside)}\n"]),
        ]
    )
