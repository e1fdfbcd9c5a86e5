"""Show the pairs of a run: the clips or images of both models, what judges say of them, and how far they changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dragon_rewards.ranking import LEFT_OUT
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import NOISE, TARGET, figure, improvement
from dragon_train.bench.report.tables import FORMS, frame_table, interval
from dragon_train.bench.report.view import Cell, Chart, PairRow, Players, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.paired_change import PairedChange
    from dragon_train.bench.report.paired_comparisons import PairedComparison
    from dragon_train.bench.report.pairs import Judgement, Pair, PairSet


def said(change: PairedChange) -> str:
    """Write a change with its interval as a line of text."""
    form = FORMS["change"]
    if np.isnan(change.low):
        return f"change {form(change.change).text}, of a single pair"
    return f"change {form(change.change).text} (95%: {interval(form, change.low, change.high)})"


def change_chart(place: int, made: PairSet, own: Collection[str]) -> Chart:
    """Draw the change of each pair under one reward, and of all of them with its interval.

    Args:
        place: of the reward among the judgements of a pair.
        made: the pairs of one run.
        own: the run's own rewards.
    """
    ranked = sorted(made.pairs, key=lambda pair: -pair.judgements[place].improvement)
    judged, change = [pair.judgements[place] for pair in ranked], made.changes[place]
    names = [pair.prompt for pair in ranked]
    title = judged[0].reward + (" (target)" if judged[0].reward in own else "")
    spec = charts.strip([judgement.improvement for judgement in judged], names, change, f"{title}: {said(change)}")
    return Chart(title, spec, change_table(title, names, judged, change))


def change_table(title: str, names: list[str], judged: list[Judgement], change: PairedChange) -> Table:
    """Return the values behind `change_chart`: a row for each pair, and one for all of them."""
    rows = [
        {"pair": name, "before": each.before, "after": each.after, "change": each.after - each.before}
        for name, each in zip(names, judged, strict=True)
    ]
    ends = {"change_low": change.low, "change_high": change.high}
    whole = {"pair": "all pairs", "before": change.before, "after": change.after, "change": change.change, **ends}
    caption = f"{title}, each pair" + (" by what its clip adds to the set" if judged[0].of == LEFT_OUT else "")
    return frame_table(caption, pd.DataFrame([whole, *rows]))


def players(comparison: PairedComparison, made: PairSet, own: Collection[str]) -> Players:
    """Return the pairs as they are shown, the most improved first, by the first reward."""
    ranked = sorted(made.pairs, key=lambda pair: -pair.judgements[0].improvement)
    rows = tuple(PairRow(pair, tuple(map(improved, pair.judgements, made.changes))) for pair in ranked)
    names = [reward.name for reward in comparison.rewards]
    rewards = tuple(Cell(name, look=TARGET if name in own else "") for name in names)
    return Players(made.pairs[0].before.noun, rewards, rows, tuple(notes(comparison, made.pairs)))


def improved(judged: Judgement, whole: PairedChange) -> Cell:
    """Return the improvement of a pair with the values before and after, grey where all pairs are within noise."""
    made, values = improvement(judged.improvement), f"{figure(judged.before).text} → {figure(judged.after).text}"
    return replace(made, note=values, look=NOISE if whole.noise else made.look)


def notes(comparison: PairedComparison, pairs: Collection[Pair]) -> list[str]:
    """Explain how the pairs came about, and what their figures mean."""
    media = [side for pair in pairs for side in (pair.before, pair.after)]
    kind, size = media[0], sum(side.bytes for side in media) / len(media) / 1000
    made = f"The first {len(pairs)} of the {comparison.generation.origin}; both models start from the same noise."
    return [
        f"{made} {kind.form}, {size:.0f} kB each.{kind.look}",
        *meanings(comparison.rewards, len(pairs), kind.noun),
    ]


def meanings(rewards: Collection[Reward], pairs: int, noun: str) -> list[str]:
    """Explain what the figures of a pair mean: first under rewards that judge clips, then under rewards of sets.

    Args:
        rewards: which judged the pairs.
        pairs: how many there are.
        noun: what the page calls one of a pair: clip or image.
    """
    alone = listed(reward for reward in rewards if reward.kind.per_clip)
    together = listed(reward for reward in rewards if not reward.kind.per_clip)
    said = {
        alone: f"Each {noun} is judged by itself under {alone}; an improvement is positive.",
        together: f"Whole sets are judged under {together}. The figure of a {noun} is the value of its set of {pairs} "
        f"less the value of the set without the {noun} (leave-one-out); improvement is what the tuned {noun} adds to "
        "its set beyond what the untuned one adds to its own.",
    }
    return [text for names, text in said.items() if names]


def listed(rewards: Iterable[Reward]) -> str:
    """Return the names of rewards, and which direction is better."""
    return ", ".join(f"{reward.name} ({reward.direction} is better)" for reward in rewards)
