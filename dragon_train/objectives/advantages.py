"""Turn the rewards of several clips of each prompt into advantages: how much better a clip is than its group.

Objectives that learn from groups (`objectives.nft`) weigh each clip by its advantage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_train.objective_options import Advantage

LARGEST = 5.0  # as in Flow-GRPO and DiffusionNFT: an outlier weighs no more
FLOOR = 1e-4  # of the step's deviation: what a group's deviation counts as at least, so that noise is not blown up


def advantages(rewards: Tensor, rule: Advantage, tie: float = 0.01) -> Tensor:
    """Return the advantage of each clip within its group, (prompts, group), between -5 and 5.

    With R the sum of a clip's rewards, w the share of the other clips of its group that it beats by more than the tie
    width, ties counted half, and mean and std over the group:

        std:    (R - mean R) / (std of R over all clips of the step)
        group:  (R - mean R) / (std R)
        rank:   (w - mean w) / (std w)
        jury:   the same for the mean of w over the rewards

    `std` is Flow-GRPO's rule (arXiv 2505.05470), `group` GRPO's (arXiv 2402.03300), and `rank` Pref-GRPO's (arXiv
    2508.20751) for a judge that is a number. `group` makes as much of a group whose clips hardly differ as of one whose
    clips differ much; the tie width keeps `rank` from that. None depends on the unit of the rewards; `rank` and `jury`
    hardly depend on their scale, and not at all where the tie width is 0.

    Args:
        rewards: for each reward, prompt and clip of its group its value, (rewards, prompts, group); more is better.
        rule: one of the four.
        tie: the difference of two clips that is a tie, in standard deviations over all clips of the step.

    >>> advantages(torch.tensor([[[1.0, 2.0, 3.0]]]), "rank").round(decimals=3)
    tensor([[-1.2250,  0.0000,  1.2250]])
    """
    if rule != "jury":
        rewards = rewards.sum(0, keepdim=True)
    if rule in ("rank", "jury"):
        rewards = win_rates(rewards, tie)
    values = rewards.mean(0)
    spread = deviation(values, None) if rule == "std" else deviation(values, 1)
    least = FLOOR * deviation(values, None) + torch.finfo(values.dtype).tiny
    return ((values - values.mean(1, keepdim=True)) / (spread + least)).clamp(-LARGEST, LARGEST)


def win_rates(rewards: Tensor, tie: float) -> Tensor:
    """Return the share of the other clips of its group that a clip beats, ties counted half, in the shape of `rewards`.

    Args:
        rewards: (rewards, prompts, group).
        tie: the difference that is a tie, in standard deviations of each reward over all clips.
    """
    width = tie * torch.stack([deviation(each, None) for each in rewards])[..., None, None, None]
    lead = rewards[..., :, None] - rewards[..., None, :]
    won = (lead > width).to(rewards.dtype) + (lead.abs() <= width).to(rewards.dtype) / 2
    return (won.sum(-1) - 0.5) / (rewards.shape[-1] - 1)  # half a win is against itself


def deviation(values: Tensor, dim: int | None) -> Tensor:
    """Return the standard deviation of values around their group's mean, by group (`dim` 1) or over all (None)."""
    squares = (values - values.mean(-1, keepdim=True)).square()
    return (squares.mean() if dim is None else squares.mean(dim, keepdim=True)).sqrt()
