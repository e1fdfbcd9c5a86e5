"""Tell a difference from chance, as the page greys what may be chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.evaluation import win_rate
from dragon_rewards.evaluation.score_tables import BASELINE, WHOLE_SET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_train.bench.report.source import BenchmarkTables

EVEN = 0.5  # a win rate that shows nothing


def evident(rate: float, trials: int) -> bool:
    """Tell whether one of two models is better, whichever: the 95% bound of its win rate is above one half.

    False for what is no share, or without trials.

    >>> evident(0.7, 64), evident(0.3, 64), evident(0.55, 64)
    (True, True, False)
    """
    if trials < 1 or not 0 <= rate <= 1:
        return False
    better, worse = (win_rate(share * trials, trials).lower for share in (rate, 1 - rate))
    return max(better, worse) > EVEN


def trials_by_reward(tables: BenchmarkTables) -> Mapping[str, int]:
    """Return by reward how many independent comparisons a win rate counts: prompts, or disjoint subsets of them."""
    scores, preset = tables.scores, tables.settings.thoroughness
    untuned = scores[scores["run"] == BASELINE]
    of_sets = set(untuned.loc[untuned["prompt_id"] == WHOLE_SET, "reward"])
    disjoint = preset.heldout_prompts // preset.subset_size
    prompts = untuned.groupby("reward")["prompt_id"].nunique()
    return {str(reward): disjoint if reward in of_sets else int(count) for reward, count in prompts.items()}
