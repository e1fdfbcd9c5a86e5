"""Make the long frames of an ablation: comparisons, scores clip by clip, and gains by the baseline's score."""

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
    """The scores of one cell: a tuned model's, and the untuned model's that it is compared with.

    Attributes:
        axes: the values of the axes that set the cell apart, by key.
        rewards: names of the rewards that judged it, its own first.
        evaluation: how the models were compared.
        tuned: scores of the tuned model, as `tables.scores_frame` makes them.
        untuned: scores of the untuned model in the same form, by the seed of the evaluation; the cell's own seed is
            among them.
    """

    axes: Mapping[str, Any]
    rewards: tuple[str, ...]
    evaluation: Evaluation
    tuned: pd.DataFrame
    untuned: Mapping[int, pd.DataFrame]

    @property
    def key(self) -> dict[str, Any]:
        """The first columns of the cell's rows: its values of the axes, and the reward that it was tuned toward."""
        return {**self.axes, "reward": self.rewards[0]}

    @property
    def baseline(self) -> pd.DataFrame:
        """The untuned model's scores, for the same prompts and seeds as the tuned model's."""
        return self.untuned[self.evaluation.seed]


def comparisons(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Compare each cell with the untuned model: one row for each cell and each reward that judges it.

    The columns are the axes and `COLUMNS["frame"]`, most of them from `tables.comparisons`. `gain` is the change of the
    raw metric, positive where it is for the better.
    """
    return pd.concat([compared(outcome) for outcome in outcomes], ignore_index=True)


def compared(outcome: Outcome) -> pd.DataFrame:
    """Return the rows of one cell, as `comparisons` describes them."""
    rewards = [compose(name) for name in outcome.rewards]
    both = pd.concat([outcome.baseline, outcome.tuned.assign(run="tuned")], ignore_index=True)
    rows = tables.comparisons(both, rewards, outcome.evaluation.trials).rename(columns={"reward": "scored"})
    signs = [reward.direction.sign for reward in rewards]
    rows = rows.assign(**outcome.key, gain=(rows["after"] - rows["before"]) * signs).astype(
        {"low": float, "high": float}
    )
    return rows[[*outcome.axes, *(name for name in COLUMNS[MAIN] if name not in outcome.axes)]]


def scores(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return raw metrics before and after tuning, one row for each cell, reward, and clip or matched subset."""
    frames = [paired(outcome).assign(**outcome.key) for outcome in outcomes]
    names = [*outcomes[0].axes, *(name for name in COLUMNS["scores"] if name not in outcomes[0].axes)]
    return pd.concat(frames, ignore_index=True)[names]


def paired(outcome: Outcome) -> pd.DataFrame:
    """Return the untuned and the tuned model's scores side by side, without rows that score the whole set at once."""
    on = ["reward", "prompt_id", "seed"]
    sides = [
        side.loc[side["prompt_id"] != tables.WHOLE_SET, [*on, "value"]] for side in (outcome.baseline, outcome.tuned)
    ]
    both = sides[0].merge(sides[1], on=on).set_axis([*on, "before", "after"], axis=1)
    return both.rename(columns={"reward": "scored", "seed": "generation_seed"})


def terciles(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return the mean gain of each third of the prompts, sorted by the untuned model's score, under rewards of clips.

    Clips that score low by chance score higher the next time, tuned or not (regression to the mean), so three ways are
    shown: `own baseline` bins by the very scores from which the gain is counted; `other seed` bins by the untuned
    model's clips of the same prompts with another seed, whose chance is independent; `untuned again` bins as the first
    does, and counts the gain of that other seed's untuned clips, where nothing was learnt. The gain is in standard
    deviations of the untuned model's scores, in the direction that is better.

    Raises:
        ConfigError: the untuned model was evaluated with one seed only.
    """
    rows = [{**outcome.key, **row} for outcome in outcomes for row in binned(outcome)]
    return pd.DataFrame(rows)


def binned(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Yield the rows of one cell, as `terciles` describes them.

    Raises:
        ConfigError: the untuned model was evaluated with one seed only.
    """
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
    """Return the raw metric of each clip under one reward, indexed by prompt."""
    return frame[frame["reward"] == reward].set_index("prompt_id")["value"]


FRAMES: Mapping[str, Callable[[Sequence[Outcome]], pd.DataFrame]] = {
    MAIN: comparisons,
    "scores": scores,
    "terciles": terciles,
}
