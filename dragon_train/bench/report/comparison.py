"""Show the tables of a benchmark: win rates, cross-effects, distributions and diversity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_rewards.evaluation.score_tables import BASELINE, WHOLE_SET
from dragon_train.bench.report import charts
from dragon_train.bench.report.cost import total_seconds
from dragon_train.bench.report.view import (
    NAMES,
    RATES,
    Cell,
    Chart,
    Fact,
    Table,
    duration,
    figure,
    frame_table,
    heat,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from dragon_train.bench.presets import Preset
    from dragon_train.bench.report.source import BenchmarkTables, TrainedRun

EVEN = 0.5  # a win rate that shows nothing
LEVEL = 0.05  # of corrected p values
WIN_COLUMNS = (
    "run",
    "served",
    "direction",
    "before",
    "after",
    "win_rate",
    "lower",
    "p_value",
    "permutation_p",
    "holm",
    "effect",
    "trials",
)
QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}


def benchmark_facts(runs: Sequence[TrainedRun], wins: pd.DataFrame) -> tuple[Fact, ...]:
    """Return the figures of a benchmark that a reader looks for first."""
    above, shown = int((wins["lower"] > EVEN).sum()), int((wins["holm"] <= LEVEL).sum())
    return (
        Fact("mean win rate", share(wins["win_rate"].mean())),
        Fact("lowest win rate", share(wins["win_rate"].min())),
        Fact("bound above 50%", Cell(f"{above} of {len(wins)}", above)),
        Fact("pass Holm's correction", Cell(f"{shown} of {len(wins)}", shown)),
        Fact("time of training", duration(total_seconds(runs))),
    )


def win_notes(wins: pd.DataFrame, preset: Preset) -> list[str]:
    """Explain how the win rates came about and, where a reward stood in for another, that it did."""
    method = (
        "A dot is the share of held-out prompts, one clip each from the same seeds, on which the tuned model is "
        "better; ties are half. Rewards that judge whole sets compare matched subsets of "
        f"{preset.subset_size} clips instead. The line reaches down to the one-sided 95% Clopper-Pearson bound."
    )
    stand_in = "Where a run is judged by a reward of another name, that one stands in: its encoder was not installed."
    return [method, stand_in] if (wins["run"] != wins["served"]).any() else [method]


def wins_table(wins: pd.DataFrame) -> Table:
    """Return the win rates with the columns of win_rates.csv that people read."""
    shown = wins[[column for column in WIN_COLUMNS if column in wins]]
    return frame_table("Win rates against the untuned model", shown, RATES, NAMES)


def further_table(caption: str, table: pd.DataFrame | None) -> Table | None:
    """Return a table that a benchmark may have, with this caption; None if it has none."""
    return None if table is None else frame_table(caption, table, RATES, NAMES)


def cross_map(tables: BenchmarkTables) -> Table:
    """Return the win rate of each run (rows) under each reward (columns) as a heat map.

    The runs are in the order of the table of win rates; the reward that a run was tuned toward is marked.
    """
    served = tables.wins.set_index("run")["served"]
    columns = [str(reward) for reward in tables.cross.columns]
    rows = (
        (Cell(str(run)), *(heat(float(tables.cross.loc[run, reward]), own=reward == served[run]) for reward in columns))
        for run in served.index
    )
    return Table("Win rate of each run (rows) under every reward (columns)", ("run", *columns), tuple(rows))


def distribution(scores: pd.DataFrame, row: Mapping[Any, Any]) -> Chart:
    """Draw the values of a run's reward before and after tuning.

    Args:
        scores: the long frame of all scores.
        row: of the table of win rates, for one run.
    """
    judged = scores[(scores["reward"] == row["served"]) & (scores["prompt_id"] != WHOLE_SET)]
    sides = {
        "untuned": judged.loc[judged["run"] == BASELINE, "value"],
        "tuned": judged.loc[judged["run"] == row["run"], "value"],
    }
    title = f"{row['served']} ({row['direction']} is better)"
    before, after = (side.tolist() for side in sides.values())
    spec = charts.histogram(before, after, f"Distribution of {title} before and after")
    return Chart(title, spec, quantiles(title, sides))


def quantiles(title: str, sides: Mapping[str, pd.Series[float]]) -> Table:
    """Return the mean, quantiles and number of the values behind a histogram.

    Args:
        title: caption of the table.
        sides: values of the untuned and of the tuned model.
    """
    rows = [
        (
            Cell(name),
            figure(float(side.mean())),
            *(figure(float(side.quantile(at))) for at in QUANTILES.values()),
            figure(len(side)),
        )
        for name, side in sides.items()
    ]
    return Table(title, ("model", "mean", *QUANTILES, "values"), tuple(rows))


def diversity(tables: BenchmarkTables) -> Chart | None:
    """Draw the Vendi score of all held-out clips of each run; None if no reward of the suite measures it."""
    scores = tables.scores
    whole = scores[scores["reward"].str.startswith("vendi:") & (scores["prompt_id"] == WHOLE_SET)]
    if whole.empty:
        return None
    reward = whole["reward"].iloc[0]
    values = whole[whole["reward"] == reward].set_index("run")["value"]
    runs = values[tables.wins["run"]]
    spec = charts.before_after(
        list(runs.index), [values[BASELINE]] * len(runs), runs.tolist(), f"{reward} of all held-out clips of each run"
    )
    rows = tuple((Cell(str(run)), figure(values[BASELINE]), figure(value)) for run, value in runs.items())
    return Chart(f"{reward} of all held-out clips", spec, Table(reward, ("run", "untuned", "tuned"), rows))
