"""Show where the time of training went, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards.terminal.printable import counted
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import duration
from dragon_train.bench.report.source import columns_of
from dragon_train.bench.report.tables import SECONDS
from dragon_train.bench.report.view import Cell, Chart, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.bench.report.source import Results, TrainedRun


def time_chart(results: Results) -> Chart:
    """Draw where the time of training went: minutes of each run, or for a single run seconds of each step, by phase."""
    frames = [seconds_by_phase(run).assign(run=run.name) for run in results.runs]
    by_phase = pd.concat(frames).groupby(["run", "phase", "rank"], sort=False)["seconds"].sum().reset_index()
    if results.benchmark:
        spec = charts.bars_by_run(by_phase.assign(minutes=by_phase["seconds"] / 60))
    else:
        spec = charts.bars_by_step(frames[0])
    return Chart("Time", spec, time_table(by_phase))


def time_table(by_phase: pd.DataFrame) -> Table:
    """Return a row for each run: its seconds in each phase, and in all.

    Args:
        by_phase: columns run, phase, rank (the order of the phases) and seconds.
    """
    wide = by_phase.pivot_table(index="run", columns="phase", values="seconds", sort=False)
    phases = list(dict.fromkeys(by_phase.sort_values("rank", kind="stable")["phase"]))
    rows = [
        (
            Cell(str(run)),
            *(duration(row[phase]) if pd.notna(row[phase]) else Cell("") for phase in phases),
            duration(row.sum()),
        )
        for run, row in wide.iterrows()
    ]
    return Table("Time of each run, by phase", ("run", *phases, "total"), tuple(rows))


def time_notes(results: Results) -> str:
    """State the time of training over all runs and, where it is known, the hours of a processor core that it took."""
    total, count = total_seconds(results.runs), len(results.runs)
    threads = results.runs[0].provenance.get("threads")
    runs = counted(count, "run")
    hours = f", {total * threads / 3600:.2g} hours of a processor core ({threads} per run)" if threads else ""
    return (
        f"{duration(total).text} of training steps, added up over {runs}{hours}. Runs may have gone on side by side; "
        "loading, and the scoring after training, are not counted."
    )


def seconds_by_phase(run: TrainedRun) -> pd.DataFrame:
    """Return the seconds of each step in each phase that took time.

    The columns are step, phase, rank (the order of the phases) and seconds.
    """
    phases = [name for name in columns_of(run.metrics) if name.endswith(SECONDS) and run.metrics[name].sum() > 0]
    long = run.metrics[["step", *phases]].melt("step", var_name="phase", value_name="seconds")
    long["phase"] = long["phase"].str.removesuffix(SECONDS)
    return long.assign(rank=long["phase"].map({phase.removesuffix(SECONDS): at for at, phase in enumerate(phases)}))


def total_seconds(runs: Sequence[TrainedRun]) -> float:
    """Return the seconds of training over all phases, steps and runs."""
    return float(sum(seconds_by_phase(run)["seconds"].sum() for run in runs))
