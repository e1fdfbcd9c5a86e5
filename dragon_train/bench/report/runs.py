"""Show one run: its training, its pairs of clips, and its comparison on held-out prompts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import win_rate
from dragon_rewards.ranking import LEFT_OUT
from dragon_train.bench.report import charts
from dragon_train.bench.report.cost import SECONDS, total_seconds
from dragon_train.bench.report.source import columns_of
from dragon_train.bench.report.view import (
    NAMES,
    RATES,
    Chart,
    Fact,
    PairRow,
    Players,
    RunView,
    duration,
    figure,
    frame_table,
    key_values,
    share,
    signed,
)
from dragon_train.loop.heldout import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.paired_comparisons import PairedComparison
    from dragon_train.bench.report.pairs import Pair
    from dragon_train.bench.report.source import TrainedRun

WON, MEAN_WON = "win rate ", "heldout_win_rate"  # how columns of win rates begin; the column of their mean
CURVES = {
    "Reward": ("reward", "positive_reward"),
    "Diversity: Vendi score of a step's clips": ("vendi",),
    "Margin of the implicit rewards": ("margin",),
    "KL divergence from the untuned model, estimated": ("kl",),
    "Norm of the gradient": ("gradient_norm",),
    "Loss": ("loss",),
}


def run_view(run: TrainedRun, comparison: PairedComparison | None, pairs: Sequence[Pair]) -> RunView:
    """Make what the page shows of one run.

    Args:
        run: its results.
        comparison: what its pairs were made from; None if it has none.
        pairs: its pairs, none or more.
    """
    judging = [judged.reward for judged in pairs[0].judgements] if pairs else []
    return RunView(
        run.name,
        run_facts(run),
        tuple(curves(run.metrics)),
        frame_table(f"Training of {run.name}", run.metrics, {}, {}),
        tuple(pair_chart(place, reward, pairs) for place, reward in enumerate(judging)),
        players(comparison, pairs) if comparison and pairs else None,
        key_values(f"Configuration of {run.name}", asdict(run.config)),
    )


def run_facts(run: TrainedRun) -> tuple[Fact, ...]:
    """Return the figures of a run that a reader looks for first."""
    first, last = run.metrics.iloc[0], run.metrics.iloc[-1]
    facts = [
        Fact("steps", figure(len(run.metrics))),
        Fact("reward, first step", figure(first["reward"])),
        Fact("reward, last step", figure(last["reward"])),
        Fact("time of training", duration(total_seconds([run]))),
    ]
    if MEAN_WON in last:
        facts.insert(0, Fact("mean held-out win rate", share(last[MEAN_WON])))
    return tuple(facts)


def curves(metrics: pd.DataFrame) -> list[Chart]:
    """Draw a chart for each group of columns in `CURVES`, one for held-out win rates, and one for each other column.

    Groups without a column in `metrics`, and columns of seconds, are left out.
    """
    names = columns_of(metrics)
    groups = {title: [name for name in group if name in names] for title, group in CURVES.items()}
    groups["Win rates on prompts kept from training"] = [n for n in names if n.startswith(WON) or n == MEAN_WON]
    taken = {"step", *(name for group in groups.values() for name in group)}
    groups |= {titled(name): [name] for name in names if name not in taken and not name.endswith(SECONDS)}
    return [Chart(title, charts.curves(metrics, group, title)) for title, group in groups.items() if group]


def titled(column: str) -> str:
    """Return the name of a column of metrics.csv in words.

    >>> titled("heldout vendi:clap"), titled("reward vendi:clap"), titled("loss_scale")
    ('vendi:clap on prompts kept from training', 'Reward: vendi:clap', 'loss scale')
    """
    kind, _, name = column.partition(" ")
    forms = {"heldout": f"{name} on prompts kept from training", "reward": f"Reward: {name}"}
    return forms.get(kind, column.replace("_", " "))


def pair_chart(place: int, reward: str, pairs: Sequence[Pair]) -> Chart:
    """Draw the pairs under one reward, the most improved first.

    Args:
        place: of the reward among the judgements of a pair.
        reward: its name.
        pairs: of one run.
    """
    ranked = sorted(pairs, key=lambda pair: -pair.judgements[place].improvement)
    judged = [pair.judgements[place] for pair in ranked]
    title = f"{reward} of each pair" + (", leave-one-out" if judged[0].of == LEFT_OUT else "")
    names = [f"{rank}. {pair.prompt}" for rank, pair in enumerate(ranked, 1)]
    values = pd.DataFrame({"pair": names, "untuned": [j.before for j in judged], "tuned": [j.after for j in judged]})
    return Chart(
        title,
        charts.before_after(names, [j.before for j in judged], [j.after for j in judged], title),
        frame_table(title, values, {}, {}),
    )


def players(comparison: PairedComparison, pairs: Sequence[Pair]) -> Players:
    """Return the pairs as they are shown, the most improved first, by the first reward."""
    rows = [
        PairRow(
            pair,
            tuple(signed(judged.improvement) for judged in pair.judgements),
            tuple(figure(judged.before) for judged in pair.judgements),
            tuple(figure(judged.after) for judged in pair.judgements),
        )
        for pair in sorted(pairs, key=lambda pair: -pair.judgements[0].improvement)
    ]
    rewards = tuple(reward.name for reward in comparison.rewards)
    return Players(pairs[0].before.noun, rewards, tuple(rows), tuple(notes(comparison, pairs)))


def notes(comparison: PairedComparison, pairs: Sequence[Pair]) -> list[str]:
    """Explain how the pairs came about, and what their figures mean."""
    media, kind = [side for pair in pairs for side in (pair.before, pair.after)], pairs[0].before
    size = sum(side.bytes for side in media) / len(media) / 1000
    made = f"The first {len(pairs)} of the {comparison.generation.origin}; both models start from the same noise."
    carried = f"{made} {kind.form}, {size:.0f} kB each."
    return [carried, *(meaning(reward, len(pairs), kind.noun) for reward in comparison.rewards)]


def meaning(reward: Reward, pairs: int, noun: str) -> str:
    """Explain what the figures of a pair mean under one reward.

    Args:
        reward: which judged the pairs.
        pairs: how many there are.
        noun: what the page calls one of a pair: clip or image.
    """
    if reward.kind.per_clip:
        return f"{reward.name} is each {noun}'s own; {reward.direction} is better, and an improvement is positive."
    return (
        f"{reward.name} judges whole sets. The figure of each {noun} is the value of its set of {pairs} less the "
        f"value of the set without the {noun} (leave-one-out); improvement is what the tuned {noun} adds to its set "
        "beyond what the untuned one adds to its own."
    )


def heldout_table(run: TrainedRun) -> Chart | None:
    """Draw the win rates of the last comparison on prompts kept from training, with their bounds.

    None if the run made no such comparison.
    """
    won = [name for name in columns_of(run.metrics) if name.startswith(WON)]
    compared = run.metrics[won].dropna() if won else pd.DataFrame()
    if compared.empty:
        return None
    prompts, last = run.config.heldout_prompts, run.metrics.loc[compared.index[-1]]
    rows = [heldout_row(name.removeprefix(WON), last, prompts) for name in won]
    table = pd.DataFrame(rows)
    shown = frame_table("Win rates on prompts kept from training", table, RATES, {**NAMES, "run": "reward"})
    return Chart("Win rates", charts.win_rates(table), shown)


def heldout_row(reward: str, last: pd.Series[float], prompts: int) -> dict[str, Any]:
    """Return one reward's row of the comparison on prompts kept from training.

    It has no bound where a part of the reward is not installed, as the number of trials is unknown then.

    Args:
        reward: its name.
        last: the row of metrics.csv with the comparison.
        prompts: how many were compared on.
    """
    rate = float(last[f"{WON}{reward}"])
    row = {"run": reward, "tuned": float(last[f"heldout {reward}"]), "win_rate": rate}
    try:
        composed = compose(reward)
    except DragonError:
        return {**row, "lower": None, "trials": None}
    size = 1 if composed.kind.per_clip else max(prompts // PARTS, composed.reduction.minimum_clips)
    wins = win_rate(rate * (prompts // size), prompts // size)
    return {**row, "lower": wins.lower, "trials": wins.trials}
