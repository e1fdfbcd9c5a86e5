"""On-policy generations, and D+ and D- chosen from them (DRAGON, arXiv 2504.15217, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.clips import Clips
from dragon_rewards.metrics import Selection, select_pairs, select_positive, select_unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.pipelines.base import Policy


@dataclass(frozen=True)
class Generations:
    """Clips of one set: latents for learning, decoded audio for the reward."""

    latents: Tensor
    clips: Clips


@dataclass(frozen=True)
class Demonstrations:
    """D+ and D- of one step.

    Attributes:
        positive: latents of D+, (n, ...); `negative` those of D-.
        positive_prompts: the prompt of each; in paired selection those of D- are the same.
        negative_prompts: likewise of D-.
        reward: mean reward of the two sets as sampled.
        positive_reward: reward of D+.
    """

    positive: Tensor
    negative: Tensor
    positive_prompts: Sequence[str]
    negative_prompts: Sequence[str]
    reward: float
    positive_reward: float


def generate(policy: Policy, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Generations:
    """One clip per prompt."""
    latents = policy.sample(prompts, seeds, steps, guidance)
    return Generations(latents, Clips(policy.decode(latents), policy.sample_rate, prompts))


def choose(
    reward: Reward, a: Generations, b: Generations, pool: Sequence[Clips], generator: torch.Generator, *, paired: bool
) -> Demonstrations:
    """Split two sets of the same prompts into D+ and D-.

    Instance rewards: the better clip of each pair wins; unpaired, the better half of all clips. Distribution rewards:
    the better set, improved by every swap that raises r(D+); with a pool, r counts the pool's clips beside the set.
    """
    count = len(a.clips)
    clips = Clips.concatenate([a.clips, b.clips, *pool])
    if reward.kind.per_clip:
        values = reward.value(clips)
        chosen = select_pairs(values[:count], values[count:]) if paired else select_unpaired(values)
        means = float(values.mean()), float(values[chosen.positive].mean())
    else:
        value = reward.subsets(clips)
        behind = torch.arange(2 * count, len(clips))
        chosen = select_positive(count, value, paired=paired, pool=behind, generator=generator)
        sets = torch.arange(2 * count).view(2, count)
        both = torch.cat([sets, behind.expand(2, -1)], dim=1)
        means = float(value(both).mean()), chosen.value
    return demonstrations(
        torch.cat([a.latents, b.latents]), [*(a.clips.prompts or []), *(b.clips.prompts or [])], chosen, means
    )


def demonstrations(
    latents: Tensor, prompts: Sequence[str], chosen: Selection, means: tuple[float, float]
) -> Demonstrations:
    """Gather what a selection names."""
    return Demonstrations(
        latents[chosen.positive],
        latents[chosen.negative],
        [prompts[i] for i in chosen.positive.tolist()],
        [prompts[i] for i in chosen.negative.tolist()],
        *means,
    )
