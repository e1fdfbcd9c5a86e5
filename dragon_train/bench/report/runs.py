"""Show one run: how far it moved its own reward, its pairs of clips, and its training."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from dragon_train.bench.exam.record import read_sittings
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import GAIN, LOSS, NOISE, duration, figure, share
from dragon_train.bench.report.cost import total_seconds
from dragon_train.bench.report.evidence import EVEN
from dragon_train.bench.report.heldout_comparison import heldout_rows, own_rewards, unclear
from dragon_train.bench.report.played import change_chart, players, said
from dragon_train.bench.report.source import columns_of
from dragon_train.bench.report.tables import SECONDS, UNTUNED, WON, frame_table, key_values, words
from dragon_train.bench.report.view import Cell, Chart, Fact, RunView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from dragon_train.bench.report.paired_change import PairedChange
    from dragon_train.bench.report.paired_comparisons import PairedComparison
    from dragon_train.bench.report.pairs import PairSet
    from dragon_train.bench.report.source import TrainedRun

MEAN_WON = "heldout_win_rate"  # the column of the mean of the win rates
CURVES = {
    "Reward": ("reward", "positive_reward"),
    "Diversity: Vendi score of a step's clips": ("vendi",),
    "Margin of the implicit rewards": ("margin",),
    "KL divergence from the untuned model, estimated": ("kl",),
    "Norm of the gradient": ("gradient_norm",),
    "Loss": ("loss",),
    "Dormant units of the denoiser": ("dormant",),
    "Rank of the update: participation ratio of its singular values": ("update_rank",),
}
ALIKE = {"vendi": 1.0, "update_rank": 1.0, "dormant": 0.0}  # where the axis of a figure begins: at its least value


def run_view(run: TrainedRun, comparison: PairedComparison | None, made: PairSet | None) -> RunView:
    """Make what the page shows of one run.

    Args:
        run: its results.
        comparison: what its pairs were made from; None if it has none.
        made: its pairs; None if it has none.
    """
    own = own_rewards(run)
    return RunView(
        run.name,
        run_facts(run, made),
        tuple(change_chart(place, made, own) for place in range(len(made.changes))) if made else (),
        players(comparison, made, own) if comparison and made else None,
        tuple(curves(run.metrics)),
        frame_table(f"Training of {run.name}", run.metrics),
        key_values(f"Configuration of {run.name}", asdict(run.config)),
    )


def run_facts(run: TrainedRun, made: PairSet | None) -> tuple[Fact, ...]:
    """Return the figures of a run that a reader looks for first: the changes of its own rewards before all else."""
    return (
        *paired_facts(run, made),
        *heldout_facts(run),
        *exam_facts(run),
        Fact("steps", figure(len(run.metrics))),
        Fact("time of training", duration(total_seconds([run]))),
    )


def paired_facts(run: TrainedRun, made: PairSet | None) -> list[Fact]:
    """Return how each of the run's own rewards changed over its pairs."""
    if made is None:
        return []
    own, count = own_rewards(run), len(made.pairs)
    names = [judged.reward for judged in made.pairs[0].judgements]
    term = f"over {count} pairs" if count > 1 else "of one pair"
    judged = zip(names, made.changes, strict=True)
    better = {1: "higher", -1: "lower"}
    return [
        Fact(f"{name} {term}, untuned → tuned ({better[change.sign]} is better)", verdict(change))
        for name, change in judged
        if name in own
    ]


def verdict(change: PairedChange) -> Cell:
    """Return the values before and after as a cell, with the change, its interval and what it shows below them."""
    look = NOISE if change.noise else GAIN if change.better else LOSS
    outcome = {NOISE: "within noise", GAIN: "better", LOSS: "worse"}[look]
    values = f"{figure(change.before).text} → {figure(change.after).text}"
    return Cell(values, change.change, look, f"{said(change)}: {outcome}")


def heldout_facts(run: TrainedRun) -> list[Fact]:
    """Return the win rates of the run's own rewards on prompts kept from training, and the mean under the others."""
    rows = [row for row in heldout_rows(run) if row["own"]]
    facts = [Fact(f"win rate, {row['reward']}", won(row)) for row in rows]
    means = run.metrics[MEAN_WON].dropna().tolist() if MEAN_WON in run.metrics else []
    return [*facts, *(Fact("mean win rate, held-out rewards", share(mean)) for mean in means[-1:])]


def exam_facts(run: TrainedRun) -> list[Fact]:
    """Return the mean win rate of the run's first exam, and how far below the rewards that watched it that is."""
    sittings = read_sittings(run.folder)
    if not sittings:
        return []
    first, more = sittings[0], len(sittings) - 1
    said = [f"{len(first.judgements)} judges drawn when it was taken"]
    said += [] if first.watch is None else [f"{share(first.watch).text} under the rewards that watched"]
    said += [f"taken {more} times more since"] if more else []
    return [Fact("mean win rate, exam", replace(share(first.exam), note="; ".join(said)))]


def won(row: Mapping[str, Any]) -> Cell:
    """Return a win rate as a cell, with its bound and what it shows below it."""
    outcome = "within noise" if not row["clear"] else "better" if row["win_rate"] > EVEN else "worse"
    bound = "" if row["lower"] is None else f"at least {share(row['lower']).text}, "
    return replace(share(row["win_rate"]), look=unclear(row), note=f"{bound}{row['trials']} comparisons: {outcome}")


def curves(metrics: pd.DataFrame) -> list[Chart]:
    """Draw a chart for each group of columns in `CURVES`, one for held-out win rates, and one for each other column.

    Groups without a column in `metrics`, and columns of seconds and of the untuned model, are left out.
    """
    names = [name for name in columns_of(metrics) if not name.endswith(SECONDS) and not name.startswith(UNTUNED)]
    groups = {title: [name for name in group if name in names] for title, group in CURVES.items()}
    groups["Win rates on held-out prompts"] = [n for n in names if n.startswith(WON) or n == MEAN_WON]
    taken = {"step", *(name for group in groups.values() for name in group)}
    groups |= {words(name): [name] for name in names if name not in taken}
    return [curve(metrics, title, group) for title, group in groups.items() if group]


def curve(metrics: pd.DataFrame, title: str, group: Sequence[str]) -> Chart:
    """Draw a chart of some columns, whose names in its legend are in words."""
    named = metrics[["step", *group]].rename(columns=words)
    return Chart(title, charts.curves(named, list(map(words, group)), title, ALIKE.get(group[0])))
