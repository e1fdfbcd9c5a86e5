"""Make the tables over benchmarks of several seeds: of each run the mean and the deviation between seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.results import known, write_table
from dragon_train.bench.headline import FIGURES, described, headline, read_outcomes
from dragon_train.bench.result_files import HEADLINE, SEEDS
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
    write_text(out / "README.md", page(benchmarks, table, summed))
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


def page(benchmarks: Sequence[Benchmark], table: pd.DataFrame, summed: pd.DataFrame) -> str:
    """Return the page over benchmarks of several seeds in Markdown."""
    seeds = ", ".join(f"[{each.seed}]({each.out.name}/README.md)" for each in benchmarks)
    return "\n\n".join(
        [
            f"# {benchmarks[0].title}, {len(benchmarks)} seeds",
            described(summed),
            f"Each seed is a benchmark of its own, of training and of the held-out generations: {seeds}.",
            f"## Runs\n\n{NOTE}\n\n{markdown(table)}\n",
        ]
    )
