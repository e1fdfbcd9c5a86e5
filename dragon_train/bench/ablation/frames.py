"""The long frames of an ablation: comparisons, scores clip by clip, and gains by the baseline's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation import score_tables as tables
from dragon_train.bench.ablation.grid import COLUMNS, MAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dragon_train.bench.evaluate import Evaluation

TERCILES = ("low", "medium", "high")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        axes: the values that set it apart.
        rewards: what judged it; its own first.
        evaluation: how it was compared.
        tuned: rows of `tables.scores_frame` of the tuned model.
        untuned: those of the untuned model, by seed; the cell's own seed among them.
    """

    axes: Mapping[str, Any]
    rewards: tuple[str, ...]
    evaluation: Evaluation
    tuned: pd.DataFrame
    untuned: Mapping[int, pd.DataFrame]

    @property
    def key(self) -> dict[str, Any]:
        """First columns of its rows."""
        return {**self.axes, "reward": self.rewards[0]}

    @property
    def baseline(self) -> pd.DataFrame:
        """The untuned model's scores of the same prompts and seeds."""
        return self.untuned[self.evaluation.seed]


def comparisons(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """One row for each cell and reward that judges it, as `tables.comparisons` has them, with the gain.

    `gain` is the change of the raw metric in the direction that is better.
    """
    return pd.concat([compared(outcome) for outcome in outcomes], ignore_index=True)


def compared(outcome: Outcome) -> pd.DataFrame:
    """The rows of one cell."""
    rewards = [compose(name) for name in outcome.rewards]
    both = pd.concat([outcome.baseline, outcome.tuned.assign(run="tuned")], ignore_index=True)
    rows = tables.comparisons(both, rewards, outcome.evaluation.trials).rename(columns={"reward": "scored"})
    signs = [reward.direction.sign for reward in rewards]
    rows = rows.assign(**outcome.key, gain=(rows["after"] - rows["before"]) * signs).astype(
        {"low": float, "high": float}
    )
    return rows[[*outcome.axes, *(name for name in COLUMNS[MAIN] if name not in outcome.axes)]]


def scores(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Raw metrics of every clip, or matched subset, before and after tuning: one row for each cell, reward and clip."""
    frames = [paired(outcome).assign(**outcome.key) for outcome in outcomes]
    names = [*outcomes[0].axes, *(name for name in COLUMNS["scores"] if name not in outcomes[0].axes)]
    return pd.concat(frames, ignore_index=True)[names]


def paired(outcome: Outcome) -> pd.DataFrame:
    """The untuned and the tuned model's scores side by side, without those of the whole set."""
    on = ["reward", "prompt_id", "seed"]
    sides = [
        side.loc[side["prompt_id"] != tables.WHOLE_SET, [*on, "value"]] for side in (outcome.baseline, outcome.tuned)
    ]
    both = sides[0].merge(sides[1], on=on).set_axis([*on, "before", "after"], axis=1)
    return both.rename(columns={"reward": "scored", "seed": "generation_seed"})


def terciles(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Mean gain of the clips of each third of the prompts, by the untuned model's score: of rewards of clips.

    Clips that score low by chance score higher the next time, tuned or not (regression to the mean), so three ways are
    shown: `own baseline` bins by the very scores from which the gain is counted; `other seed` bins by the untuned
    model's clips of the same prompts with another seed, whose chance is independent; `untuned again` bins as the first
    does, and counts the gain of that other seed's untuned clips, where nothing was learnt. The gain is in standard
    deviations of the untuned model's scores, in the direction that is better.

    Raises:
        ConfigError: there is one seed only.
    """
    rows = [{**outcome.key, **row} for outcome in outcomes for row in binned(outcome)]
    return pd.DataFrame(rows)


def binned(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The rows of one cell."""
    others = [seed for seed in sorted(outcome.untuned) if seed != outcome.evaluation.seed]
    if not others:
        raise ConfigError('frame = "terciles": the control needs a second seed; write seed = [0, 1] in axes')
    later = [seed for seed in others if seed > outcome.evaluation.seed]
    frames = outcome.baseline, outcome.tuned, outcome.untuned[(later or others)[0]]
    for name in outcome.rewards:
        reward = compose(name)
        if reward.kind.per_clip:
            before, after, again = (reward.direction.sign * of_clips(frame, name) for frame in frames)
            spread = before.std()
            for how, bins, gain in (
                ("own baseline", before, after - before),
                ("other seed", again, after - before),
                ("untuned again", before, again - before),
            ):
                thirds = pd.qcut(bins.rank(method="first"), len(TERCILES), labels=list(TERCILES))
                for third, gains in (gain / spread).groupby(thirds, observed=True):
                    yield {
                        "scored": name, "binned_by": how, "tercile": third, "gain": gains.mean(), "clips": len(gains),
                    }  # fmt: skip


def of_clips(frame: pd.DataFrame, reward: str) -> pd.Series[float]:
    """Values by prompt."""
    return frame[frame["reward"] == reward].set_index("prompt_id")["value"]


FRAMES: Mapping[str, Callable[[Sequence[Outcome]], pd.DataFrame]] = {
    MAIN: comparisons,
    "scores": scores,
    "terciles": terciles,
}
