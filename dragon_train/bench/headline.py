"""The few figures that sum a benchmark up: means over its rewards, and over its seeds where it has several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dragon_rewards.evaluation import cluster_interval
from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.storage.dataframes import Column, read_csv
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.judges import COLUMN
from dragon_train.bench.result_files import CEILINGS, COLLATERAL, HELD_OUT, WIN_RATES
from dragon_train.embedded.words import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from pathlib import Path

    from dragon_train.bench.benchmark import Benchmark

ADHERENCE = "adherence"
FIGURES = {
    "win_rate": "win rate under the own reward",
    "heldout": "win rate under held-out rewards",
    COLUMN: f"win rate under {COLUMN}",
    "share": "share of the way to real music",
    ADHERENCE: "change of the share of clips that are what their prompt names",
}
ROOM = "headroom"
ALL, WITH, WITHOUT = "all", "with headroom", "without headroom"  # rewards that a mean is taken over
RUN = {"run": Column.TEXT}
UNFINISHED = "the same `dragon bench` command writes it again"
EVEN = 0.5
FEWEST = 2  # rewards in an interval over rewards


def outcomes(
    seed: int,
    wins: pd.DataFrame,
    carried: pd.DataFrame,
    ceilings: pd.DataFrame | None = None,
    collateral: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return what each run of one benchmark came to: columns seed, run, change, the known `FIGURES`, headroom if known.

    Args:
        seed: of the benchmark.
        wins: win_rates.csv, with changes.
        carried: held_out.csv.
        ceilings: ceilings.csv, whose column `headroom` is above 0 for runs with headroom; None if there is none.
        collateral: collateral.csv, which knows of adherence if it has the columns `ATTRIBUTES`; None if there is none.
    """
    judged = carried[["run", *(name for name in FIGURES if name in carried)]]
    table = wins[["run", "change", "win_rate"]].merge(judged, on="run")
    if ceilings is not None:
        table = table.merge(ceilings[["run", ROOM, "share"]], on="run", how="left")
    if collateral is not None and set(ATTRIBUTES) <= set(collateral):
        table[ADHERENCE] = table["run"].map(adherence_changes(collateral))
    return table.assign(seed=seed)


def adherence_changes(collateral: pd.DataFrame) -> pd.Series[float]:
    """Return by run the mean over attributes of the share of clips that are what their prompt names, less untuned."""
    means = collateral.set_index("run")[[*ATTRIBUTES]].mean(axis=1)
    changes: pd.Series[float] = means - means[BASELINE]
    return changes


def read_outcomes(benchmarks: Iterable[Benchmark]) -> pd.DataFrame:
    """Return the outcomes of benchmarks of one seed each, whose tables are written.

    Raises:
        DragonError: a table is missing or cannot be read.
    """
    return pd.concat([_outcomes(benchmark.out, benchmark.seed) for benchmark in benchmarks], ignore_index=True)


def _outcomes(folder: Path, seed: int) -> pd.DataFrame:
    wins = {**RUN, "change": Column.NUMBER, "win_rate": Column.NUMBER}
    tables = {WIN_RATES: wins, HELD_OUT: {**RUN, "heldout": Column.FIGURE}}
    if (folder / f"{CEILINGS}.csv").exists():
        tables[CEILINGS] = {**RUN, ROOM: Column.ANYTHING, "share": Column.FIGURE}
    found = {name: read_csv(folder / f"{name}.csv", columns, UNFINISHED) for name, columns in tables.items()}
    file = folder / f"{COLLATERAL}.csv"
    beside = read_csv(file, RUN, UNFINISHED, rest=Column.FIGURE) if file.exists() else None
    return outcomes(seed, found[WIN_RATES], found[HELD_OUT], found.get(CEILINGS), beside)


def headline(found: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of each figure over all rewards, and over those with and without headroom, where that is known.

    Args:
        found: rows of `outcomes`, of one seed or of several.

    Returns:
        Columns figure, rewards (which ones), count (of them), mean, low, high and between_seeds. The 95% interval
        resamples whole rewards, each with all of its seeds; `between_seeds` is the standard deviation of the mean over
        rewards from seed to seed. Both are missing where there is only one reward, or one seed.
    """
    rows = [
        {"figure": figure, "rewards": which, **_mean(group.dropna(subset=figure), figure)}
        for which, group in _groups(found).items()
        for figure in FIGURES
        if figure in group and group[figure].notna().any()
    ]
    return pd.DataFrame(rows)


def _groups(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of all rewards, and of those that have headroom in most of their seeds, and of those that do not.

    Rewards of which that is not known are in neither of the two.
    """
    if ROOM not in found:
        return {ALL: found}
    seen = found[ROOM].astype(float)
    most = (seen > 0).where(seen.notna()).astype(float).groupby(found["run"]).transform("mean")
    return {ALL: found, WITH: found[most > EVEN], WITHOUT: found[most <= EVEN]}


def _mean(rows: pd.DataFrame, figure: str) -> dict[str, float]:
    count, low, high = rows["run"].nunique(), np.nan, np.nan
    if count >= FEWEST:
        interval = cluster_interval(rows[figure], rows["run"])
        low, high = interval.low, interval.high
    between = rows.groupby("seed")[figure].mean().std()
    return {"count": count, "mean": float(rows[figure].mean()), "low": low, "high": high, "between_seeds": between}


def sentences(table: pd.DataFrame) -> list[str]:
    """Say each row of a headline in words, for people."""
    return [
        f"{FIGURES[str(row['figure'])]}, mean of {_which(row['count'], row['rewards'])}: {_spread(row)}"
        for row in table.to_dict("records")
    ]


def _which(count: int, rewards: str) -> str:
    return counted(count, "reward") if rewards == ALL else f"{counted(count, 'reward')} {rewards}"


def _spread(row: Mapping[Hashable, float]) -> str:
    interval = "" if pd.isna(row["low"]) else f" (95% interval {row['low']:.1%} to {row['high']:.1%})"
    seeds = "" if pd.isna(row["between_seeds"]) else f"; standard deviation between seeds {row['between_seeds']:.1%}"
    return f"{row['mean']:.1%}{interval}{seeds}"


def described(table: pd.DataFrame) -> str:
    """Return a headline in Markdown, with what its intervals are."""
    text = (
        "Intervals resample the rewards, with all seeds of a reward together: they tell how far the mean depends on "
        "which rewards were chosen, and take no account of encoders and exemplar sets that several rewards share."
    )
    return "\n\n".join(["\n".join(f"- {sentence[0].upper()}{sentence[1:]}." for sentence in sentences(table)), text])
