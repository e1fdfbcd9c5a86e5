"""Show what tuning did beside its aim: to other rewards, clip by clip, and to the diversity of the clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from dragon_rewards.evaluation.score_tables import BASELINE, PAIR, WHOLE_SET
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import TARGET, figure, heat, signed
from dragon_train.bench.report.comparison import HIGHER
from dragon_train.bench.report.evidence import evident, trials_by_reward
from dragon_train.bench.report.tables import frame_table
from dragon_train.bench.report.view import Cell, Chart, Section, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dragon_train.bench.report.source import BenchmarkTables

COLUMNS = ("run", "before", "after", "change")  # of the table of diversities
QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}


def cross_section(tables: BenchmarkTables) -> Section:
    """Show the win rate of each run under each reward as a heat map."""
    note = (
        "What tuning toward one reward does to all others: the win rate of each run (rows) under every reward "
        "(columns). A frame marks the reward that the run was tuned on. Grey figures without colour are within noise: "
        "neither model is better by the 95% bound."
    )
    return Section("cross", "Cross-effects", "Cross-effects", (note,), table=cross_map(tables), look="heat")


def cross_map(tables: BenchmarkTables) -> Table:
    """Return the win rate of each run (rows) under each reward (columns) as a heat map.

    The runs are in the order of the table of win rates; the reward that a run was tuned toward is marked.
    """
    served, trials = tables.wins.set_index("run")["served"], trials_by_reward(tables)
    columns = [str(reward) for reward in tables.cross.columns]

    def rate(run: str, reward: str) -> Cell:
        found = float(tables.cross[reward][run])
        return heat(found, own=reward == served[run], noise=not evident(found, trials.get(reward, 0)))

    rows = ((Cell(str(run)), *(rate(run, reward) for reward in columns)) for run in served.index)
    return Table("Win rate of each run (rows) under every reward (columns)", ("tuned toward", *columns), tuple(rows))


def distributions_section(tables: BenchmarkTables) -> Section:
    """Show how the paired changes of each run's own reward are distributed."""
    note = (
        "The change of the reward that each run was tuned on, from the untuned to the tuned clip of the same prompt "
        "and seed, or of matched subsets where the reward judges sets. The dashed rule is no change, the line the "
        "mean, and right is better."
    )
    drawn = tuple(distribution(tables.scores, row) for row in tables.wins.to_dict("records"))
    return Section("distributions", "Changes clip by clip", "Clip by clip", (note,), drawn, cards=True)


def distribution(scores: pd.DataFrame, row: Mapping[Any, Any]) -> Chart:
    """Draw the changes of a run's reward from clip to clip, or from subset to subset.

    Args:
        scores: the long frame of all scores.
        row: of the table of win rates, for one run.
    """
    judged = scores[(scores["reward"] == row["served"]) & (scores["prompt_id"] != WHOLE_SET)].set_index(PAIR)
    before, after = (judged.loc[judged["run"] == run, "value"] for run in (BASELINE, row["run"]))
    change = (after - before).dropna()
    title = f"{row['served']} ({row['direction']} is better)"
    signed = change if row["direction"] == HIGHER else -change
    spec = charts.histogram(signed.tolist(), f"Distribution of the changes of {title}, from untuned to tuned")
    return Chart(title, spec, quantiles(title, {"untuned": before, "tuned": after, "change": change}))


def quantiles(title: str, sides: Mapping[str, pd.Series[float]]) -> Table:
    """Return the mean, quantiles and number of the values behind a histogram.

    Args:
        title: caption of the table.
        sides: values of the untuned and of the tuned model, and their differences.
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
    return Table(title, ("values", "mean", *QUANTILES, "number"), tuple(rows))


def diversity_section(tables: BenchmarkTables) -> Section | None:
    """Draw the Vendi score of all held-out clips of each run; None if no reward of the suite measures it."""
    scores = tables.scores
    whole = scores[scores["reward"].str.startswith("vendi:") & (scores["prompt_id"] == WHOLE_SET)]
    if whole.empty:
        return None
    reward = whole["reward"].iloc[0]
    values = whole[whole["reward"] == reward].set_index("run")["value"]
    note = (
        "The effective number of different clips (Vendi score) among all held-out clips: does tuning narrow the model "
        "down? The dashed rule is the untuned model, and the axis begins where all clips are the same. What is grey "
        "differs by no more than noise: the win rate under this reward leaves open which model is more diverse."
    )
    found = diversity(tables, reward, values)
    own = set(tables.wins.loc[tables.wins["served"] == reward, "run"])
    title = f"{reward} of all held-out clips"
    table = frame_table(title, found, {"run": lambda row: TARGET if row["run"] in own else ""}, COLUMNS)
    chart = Chart(title, diversity_spec(found, own, f"{title}, beside the untuned model"), table)
    return Section("diversity", "Diversity", "Diversity", (note,), (chart,))


def diversity(tables: BenchmarkTables, reward: str, values: pd.Series[float]) -> pd.DataFrame:
    """Return `COLUMNS`, and whether the runs differ from the untuned model beyond noise.

    Args:
        tables: the benchmark's.
        reward: which measures the diversity.
        values: its value for each run and the untuned model.
    """
    runs, untuned, trials = list(tables.wins["run"]), values[BASELINE], trials_by_reward(tables).get(reward, 0)
    rates = tables.cross[reward] if reward in tables.cross else pd.Series(np.nan, runs)
    rows = [{"run": run, "before": untuned, "after": values[run], "clear": evident(rates[run], trials)} for run in runs]
    found = pd.DataFrame(rows)
    return found.assign(change=found["after"] - found["before"])


def diversity_spec(found: pd.DataFrame, own: Collection[str], description: str) -> charts.Spec:
    """Draw diversities on an axis that begins at 1, the score of clips that are all the same.

    Args:
        found: by `diversity`.
        own: the runs that were tuned toward this reward.
        description: the text that a screen reader says.
    """
    drawn = pd.DataFrame(
        {
            "name": [f"{run} (target)" if run in own else run for run in found["run"]],
            "value": found["after"],
            "low": found[["before", "after"]].min(axis=1),
            "high": found[["before", "after"]].max(axis=1),
            "evidence": found["clear"].map({True: charts.EFFECT, False: charts.NOISE}),
            "text": [f"{figure(row['after']).text} ({signed(row['change']).text})" for row in found.to_dict("records")],
        }
    )
    axis = alt.Axis(title="different clips (Vendi score)", tickCount=8)
    x = alt.X("value:Q", scale=alt.Scale(domainMin=1, zero=False), axis=axis)
    return charts.forest(drawn, (float(found["before"].iloc[0]),), x, description)
