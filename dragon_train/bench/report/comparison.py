"""Show how each run of a benchmark changed its own reward: by how much, and how often for the better."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from dragon_rewards.evaluation.score_tables import BASELINE
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import NOISE, duration, figure, share
from dragon_train.bench.report.cost import total_seconds
from dragon_train.bench.report.evidence import EVEN, evident, trials_by_reward
from dragon_train.bench.report.source import CHANGE
from dragon_train.bench.report.tables import FORMS, frame_table, interval
from dragon_train.bench.report.view import Cell, Chart, Fact, Section, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dragon_train.bench.presets import Preset
    from dragon_train.bench.report.source import BenchmarkTables, TrainedRun

LEVEL = 0.05  # of corrected p values
HIGHER = "higher"
UNTUNED = "untuned model"
WIN_COLUMNS = (
    *("run", "served", "direction", "before", "before_low", "before_high", "after", "after_low", "after_high", *CHANGE),
    *("win_rate", "lower", "p_value", "permutation_p", "holm", "effect", "trials"),
)
PERCENT = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], title="win rate")


def benchmark_facts(runs: Sequence[TrainedRun], wins: pd.DataFrame) -> tuple[Fact, ...]:
    """Return the figures of a benchmark that a reader looks for first."""
    above, shown = int((wins["lower"] > EVEN).sum()), int((wins["holm"] <= LEVEL).sum())
    facts = [
        Fact("mean win rate", share(wins["win_rate"].mean())),
        Fact("lowest win rate", share(wins["win_rate"].min())),
        Fact("win rates with a bound above 50%", Cell(f"{above} of {len(wins)}", above)),
        Fact(f"significant, corrected for {counted(len(wins), 'reward')}", Cell(f"{shown} of {len(wins)}", shown)),
        Fact("time of training", duration(total_seconds(runs))),
    ]
    if changed(wins):
        facts[2:3] = []  # says much the same
        facts.insert(0, Fact("rewards that improved beyond noise", improved(wins)))
    return tuple(facts)


def changed(wins: pd.DataFrame) -> bool:
    """Tell whether a table of win rates has changes with intervals; folders of earlier versions do not."""
    return set(CHANGE) <= set(wins.columns)


def improved(wins: pd.DataFrame) -> Cell:
    """Count the runs with the interval of their change on the better side of 0, of those that have an interval."""
    known = wins.dropna(subset=list(CHANGE))
    better = known["change_low"].gt(0).where(known["direction"] == HIGHER, known["change_high"].lt(0))
    count, others = int(better.sum()), len(wins) - len(known)
    return Cell(f"{count} of {len(known)}", count, note=f"{others} others have no interval" if others else "")


def changes_section(wins: pd.DataFrame) -> Section | None:
    """Show the paired change of each run's own reward with its interval; None in folders of earlier versions."""
    if not changed(wins):
        return None
    note = (
        "How far tuning moved the reward that each run was tuned toward: tuned less untuned, of the same prompts and "
        "seeds, with the 95% interval. The chart is in percent of the untuned value, and right is better; its figures "
        "and the table below have the units of the reward."
    )
    return Section("change", "Change from untuned to tuned", "Change", (note,), (changes_chart(wins),))


def changes_chart(wins: pd.DataFrame) -> Chart:
    """Draw the changes in percent of the untuned values, signed so that right is better."""
    unit = wins["direction"].map({HIGHER: 1.0}).fillna(-1.0) / wins["before"].abs()
    rows = wins.to_dict("records")
    ends = pd.concat([wins["change_low"] * unit, wins["change_high"] * unit], axis=1)
    shown = pd.DataFrame(
        {
            "name": wins["run"],
            "value": wins["change"] * unit,
            "low": ends.min(axis=1, skipna=False),
            "high": ends.max(axis=1, skipna=False),
            "evidence": [evidence(row) for row in rows],
            "text": [said(row) for row in rows],
        }
    )
    title = "change in percent of the untuned value; right is better"
    x = alt.X("value:Q", axis=alt.Axis(format="+%", title=title, tickCount=8))
    description = "Change of each run's own reward in percent of the untuned value, with its 95% interval"
    return Chart("Changes", charts.forest(shown, (0.0,), x, description))


def evidence(row: Mapping[Any, Any]) -> str:
    """Tell whether the interval of a row's change holds 0, or that there is none."""
    if pd.isna(row["change_low"]) or pd.isna(row["change_high"]):
        return charts.UNKNOWN
    return charts.NOISE if row["change_low"] <= 0 <= row["change_high"] else charts.EFFECT


def said(row: Mapping[Any, Any]) -> str:
    """Write a row's values and their change as a line of text."""
    text = f"{figure(row['before']).text} → {figure(row['after']).text}"
    if evidence(row) == charts.UNKNOWN:
        return text
    form = FORMS["change"]
    return f"{text}, {form(row['change']).text} ({interval(form, row['change_low'], row['change_high'])})"


def wins_section(tables: BenchmarkTables) -> Section:
    """Show the win rate of each run under its own reward, with its bound."""
    wins = tables.wins
    shown = wins[[column for column in WIN_COLUMNS if column in wins]]
    trials = trials_by_reward(tables)

    def unclear(row: Mapping[Any, Any]) -> str:
        return "" if evident(row["win_rate"], trials.get(row["served"], 0)) else NOISE

    table = run_table("Changes and win rates against the untuned model", shown, {"win_rate": unclear, "lower": unclear})
    rows = wins.to_dict("records")
    drawn = pd.DataFrame(
        {
            "name": wins["run"],
            "value": wins["win_rate"],
            "low": wins["lower"],
            "high": wins["win_rate"],
            "evidence": [charts.NOISE if unclear(row) else charts.EFFECT for row in rows],
            "text": [f"{share(row['win_rate']).text}, at least {share(row['lower']).text}" for row in rows],
        }
    )
    notes = tuple(win_notes(wins, tables.settings.thoroughness))
    return Section("wins", "Win rates", "Win rates", notes, (Chart("Win rates", wins_spec(drawn), table, open=True),))


def wins_spec(drawn: pd.DataFrame) -> charts.Spec:
    """Draw win rates with a line down to their bounds."""
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), axis=PERCENT)
    description = "Win rate against the untuned model, and its one-sided 95% lower bound"
    return charts.forest(drawn, (EVEN,), x, description)


def win_notes(wins: pd.DataFrame, preset: Preset) -> list[str]:
    """Explain how the win rates came about and, where a reward stood in for another, that it did."""
    method = (
        "A dot is the share of held-out prompts, one clip each from the same seeds, on which the tuned model is "
        "better by the reward that it was tuned toward; ties are half. Rewards that judge whole sets compare matched "
        f"subsets of {preset.subset_size} clips instead. The line reaches down to the one-sided 95% Clopper-Pearson "
        "bound; what the bound leaves open is grey."
    )
    tests = (
        "P-values are one-sided. A p-value by exchanging clips is of the whole set, where the reward judges sets; the "
        "corrected one (Holm) allows for the number of rewards. The effect size is 1 where every pair is better."
    )
    stand_in = "Where a run is judged by a reward of another name, that one stands in: a part of it was not here."
    notes = [method, tests]
    return [*notes, stand_in] if (wins["run"] != wins["served"]).any() else notes


def run_table(caption: str, table: pd.DataFrame, looks: Mapping[str, Callable[[Any], str]] | None = None) -> Table:
    """Return a table of runs with the untuned model by name, and below a run who judges it where that is another."""
    shown = table.assign(run=table["run"].replace(BASELINE, UNTUNED))
    judges = shown["served"] if "served" in shown else shown["run"]
    made = frame_table(caption, shown, looks, [str(column) for column in shown if column != "served"])
    noted = (f"judged by {judge}" if judge != run else "" for run, judge in zip(shown["run"], judges, strict=True))
    rows = ((replace(row[0], note=note), *row[1:]) for note, row in zip(noted, made.rows, strict=True))
    return replace(made, rows=tuple(rows))
