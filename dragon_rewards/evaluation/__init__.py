"""Statistics of comparisons: how often one model beats another, how surely, by how much, and at what else's expense."""

from dragon_rewards.evaluation.bootstrap import Interval, cluster_interval
from dragon_rewards.evaluation.changes import Change, clip_change, set_change, set_interval
from dragon_rewards.evaluation.confounders import controlled_win_rate
from dragon_rewards.evaluation.correction import holm
from dragon_rewards.evaluation.effects import rank_biserial, standardized_difference
from dragon_rewards.evaluation.heldout import carry_over, carry_over_summary, is_held_out, same_question
from dragon_rewards.evaluation.inference_time import (
    best_of_n_mean,
    best_of_n_transform,
    best_of_n_win_rate,
    best_of_n_wins,
    calibrated,
    worst_of_n_transform,
)
from dragon_rewards.evaluation.permutation import PermutationTest, permutation_test
from dragon_rewards.evaluation.planning import prompts_for_power, prompts_for_width
from dragon_rewards.evaluation.subsets import matched_subsets
from dragon_rewards.evaluation.win_rates import WinRate, distribution_wins, instance_wins, paired_wins, win_rate

__all__ = [
    "Change",
    "Interval",
    "PermutationTest",
    "WinRate",
    "best_of_n_mean",
    "best_of_n_transform",
    "best_of_n_win_rate",
    "best_of_n_wins",
    "calibrated",
    "carry_over",
    "carry_over_summary",
    "clip_change",
    "cluster_interval",
    "controlled_win_rate",
    "distribution_wins",
    "holm",
    "instance_wins",
    "is_held_out",
    "matched_subsets",
    "paired_wins",
    "permutation_test",
    "prompts_for_power",
    "prompts_for_width",
    "rank_biserial",
    "same_question",
    "set_change",
    "set_interval",
    "standardized_difference",
    "win_rate",
    "worst_of_n_transform",
]
