"""Credit each clip by what it is worth where the best, or the worst, of several is taken (InfAlign, arXiv 2412.19792).

Objectives of groups to which the sizes of rewards count (`objectives.nft`) ask here for the credit of their clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation import best_of_n_transform, calibrated, worst_of_n_transform
from dragon_rewards.media.media import Media
from dragon_rewards.mixture import compose_mixture
from dragon_train.loop.feasible import check_judges_clips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.objective_options import Advantage
    from dragon_train.objectives.groups import Groups
    from dragon_train.protocols import Generations, Rollout

LEAST = 8  # clips of the untuned model for each prompt, however few are chosen from


def credits_if_chosen(rollout: Rollout, groups: Groups, best_of: int, worst_of: int) -> tuple[Tensor, dict[str, float]]:
    """Return the credit of each clip, (judges, prompts, group), and what the step records.

    Where the best of n clips is taken, a clip counts by Phi_F(C) (`dragon_rewards.evaluation.best_of_n_transform`, in
    whose units it is): C is its standing among m clips that the untuned model makes of the same prompt in this step, F
    the distribution of C over all clips of the groups. C does not change with increasing functions of the reward, and
    all prompts count alike. At n = 1 the credit is C itself.

    m is 2n, and 8 at least. Clips of other prompts are not used: a clip of a hard prompt would stand low among them
    whatever it is like, and where Phi is flat nothing would be learnt of it. C has steps of 1 / m, and the step below
    the best is worth (1 - 1 / m)^(2n - 1) of it at the untuned model: with m = 2n more than 1 / e, but with m = 8 and
    n = 8 some 13%, so that little else than to beat all m would count. In one dimension, tuned for n = 8 to a
    divergence of 0.5 nats, the best of 8 wins 93.0% with exact standings, 92.0% with m = 4n, 91.0% with 2n and 89.1%
    with n; with C as the credit it wins 80.4%.

    Args:
        rollout: the step.
        groups: clips of the policy as it generates now.
        best_of: n, where the best of n clips is taken; 0 if it is not.
        worst_of: n, where the worst is; with both 0 credits and figures are the groups' own.
    """
    number = best_of or worst_of
    if not number:
        return groups.judged, groups.figures()
    untuned = [rollout.untuned(place) for place in range(max(LEAST, 2 * number))]
    with rollout.clock.phase("selecting"):
        standing = standings(rollout.reward, groups, untuned)
        places, inverse = np.unique(standing, return_inverse=True)  # few, and F is of many clips
        worth = (best_of_n_transform if best_of else worst_of_n_transform)(places, number, standing)
    credit = torch.from_numpy(worth[inverse].reshape(standing.shape))
    return credit[None], {**groups.figures(), "standing": float(standing.mean())}


def standings(reward: AnyReward, groups: Groups, untuned: Sequence[Generations]) -> NDArray[np.float64]:
    """Return where each clip stands among the untuned model's clips of its prompt, from 0 to 1, (prompts, group).

    All are judged together, as values of a mixture have no meaning outside of their set.
    """
    clips, size = Media.concatenate([made.clips for made in (*groups.sets, *untuned)]), len(groups.sets)
    values = reward.value(clips).double().cpu().view(-1, len(groups.prompts)).T.numpy()
    return calibrated(values[:, :size], values[:, size:])


def check_choice(config: TrainConfig, best_of: int, worst_of: int, advantage: Advantage = "std") -> None:
    """Refuse a choice among clips that the rest of a configuration makes meaningless.

    Raises:
        ConfigError: the best is taken and the worst, only the order of rewards counts, or what judges is of sets.
    """
    name, number = ("best_of", best_of) if best_of else ("worst_of", worst_of)
    setting = f"options.{name} = {number}"
    if best_of and worst_of:
        raise ConfigError(f"{setting} and options.worst_of = {worst_of}: set one of them, and the other to 0")
    if number and advantage in ("rank", "jury"):
        raise ConfigError(
            f"{setting} changes how much clips differ and not their order, which is all that options.advantage = "
            f'"{advantage}" sees; set options.advantage = "std", or "group"'
        )
    for each in (config.reward, *config.at_least) if number else ():
        check_judges_clips(compose_mixture(each), setting, f"use options.{name} = 0")
