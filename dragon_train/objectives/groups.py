"""Generate several clips of each prompt, and credit each with its part of the reward.

Objectives that learn from groups (`objectives.nft`, `order`, `dno`) call `judged_groups` in their `collect`: in a step
of `loop.loop` it asks `loop.rollout` for the clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.media import Media
from dragon_rewards.ranking import left_out
from dragon_train.loop.feasible import FeasibleFirst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.protocols import Generations, Rollout, Sampler


@dataclass(frozen=True)
class Groups:
    """Clips of the same prompts, with what judges say of each.

    Attributes:
        sets: the sets that were generated, one clip for each prompt in each.
        judged: the credit of each clip by each judge, (judges, prompts, group).
    """

    sets: Sequence[Generations]
    judged: Tensor

    @cached_property
    def latents(self) -> Tensor:
        """The latents of all clips, (prompts, group, ...)."""
        return torch.stack([made.latents for made in self.sets], 1)

    @property
    def paths(self) -> Tensor:
        """The points that the sampler recorded, (prompts, group, points, ...).

        Raises:
            ValueError: it was the pipeline's own, which records none.
        """
        found = [made.path for made in self.sets if made.path is not None]
        if not found:
            raise ValueError("these clips were sampled by the pipeline itself: there are no points on their way")
        return torch.stack(found, 1)

    @property
    def seeds(self) -> Sequence[Sequence[int]]:
        """The seeds of the clips, one list for each prompt."""
        return list(zip(*(made.seeds for made in self.sets), strict=True))

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts of the groups, one text for each, which all sets share."""
        return self.sets[0].prompts

    def figures(self) -> dict[str, float]:
        """Return what a step records: `reward`, the mean over all clips, and `best_reward`, the mean over the best."""
        values = self.judged.sum(0).double()
        return {"reward": float(values.mean()), "best_reward": float(values.amax(1).mean())}


def judged_groups(rollout: Rollout, size: int, *, separately: bool = False, sampler: Sampler | None = None) -> Groups:
    """Generate groups of clips for the prompts of the step, and judge them.

    Args:
        rollout: the step.
        size: the number of clips of each prompt.
        separately: whether each part of a mixture judges by itself; of its weight the sign counts alone.
        sampler: what samples in place of the pipeline's own sampler.
    """
    sets = [rollout.generate(sampler=sampler) for _ in range(size)]
    with rollout.clock.phase("selecting"):
        clips, reward = Media.concatenate([made.clips for made in sets]), rollout.reward
        judged = votes(reward, clips) if separately else pseudo_values(reward, clips)[None]
    return Groups(sets, judged.view(len(judged), size, -1).transpose(1, 2))


def votes(reward: AnyReward, clips: Media) -> Tensor:
    """Return what each part of a reward says of each clip, (parts, clips); of its weight the sign counts alone.

    Under `constraint = "clip"` each part ranks what breaks a constraint below all else. What has no parts has one vote.
    """
    if isinstance(reward, FeasibleFirst):
        return torch.stack([reward.ranks(clips, vote) for vote in votes(reward.reward, clips)])
    if not reward.parts:
        return pseudo_values(reward, clips)[None]
    parts = zip(reward.parts, reward.weights, strict=True)
    return torch.stack([pseudo_values(part, clips) * sign(weight) for part, weight in parts])


def dominates(one: Tensor, other: Tensor) -> Tensor:
    """Return where one clip is nowhere worse than another and somewhere better, (...), of what parts say, (parts, ...).

    >>> dominates(torch.tensor([[2.0, 2.0, 2.0], [1.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    tensor([ True, False, False])
    """
    return (one >= other).all(0) & (one > other).any(0)


def sign(weight: float) -> int:
    """Return 1, 0 or -1: whether more of a reward is wanted, or less."""
    return (weight > 0) - (weight < 0)


def pseudo_values(reward: AnyReward, clips: Media) -> Tensor:
    """Return what each clip has of the reward, (clips,): its own value, or its pseudo-value of a reward of sets.

    Of a reward r that judges sets, clip i of n has the jackknife's pseudo-value (Tukey 1958), whose mean over the clips
    is r less the bias that the jackknife finds, and which is the clip's own value where r is a mean over clips:

        n r(all) - (n - 1) r(all but i)

    This is r(all), more (n - 1) times the leave-one-out difference by which `dragon_rewards.ranking.credits_of` ranks.
    """
    if reward.kind.per_clip:
        return reward.value(clips)
    whole, without = left_out(reward, clips)
    return len(clips) * whole - (len(clips) - 1) * without
