"""On-policy generations, and D+ and D- chosen from them (DRAGON, arXiv 2504.15217, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dragon_rewards.clips import Clips
from dragon_rewards.metrics import Selection, exchange_losses, select_pairs, select_positive, select_unpaired

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
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

    def pairs(self, rows: Tensor) -> Demonstrations:
        """These pairs alone."""
        chosen = rows.tolist()
        return replace(
            self,
            positive=self.positive[rows],
            negative=self.negative[rows],
            positive_prompts=[self.positive_prompts[i] for i in chosen],
            negative_prompts=[self.negative_prompts[i] for i in chosen],
        )


def generate(policy: Policy, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Generations:
    """One clip per prompt."""
    latents = policy.sample(prompts, seeds, steps, guidance)
    return Generations(latents, policy.clips(latents, prompts))


def choose(
    reward: Reward,
    a: Generations,
    b: Generations,
    pool: Sequence[Clips],
    config: TrainConfig,
    generator: torch.Generator,
) -> Demonstrations:
    """Split two sets of the same prompts into D+ and D-."""
    if reward.kind.per_clip:
        chosen = choose_clips(reward, a.clips, b.clips, config)
    else:
        chosen = choose_set(reward, a.clips, b.clips, pool, config, generator)
    latents, prompts = torch.cat([a.latents, b.latents]), [*(a.clips.prompts or ()), *(b.clips.prompts or ())]
    return Demonstrations(
        latents[chosen.positive],
        latents[chosen.negative],
        [prompts[i] for i in chosen.positive.tolist()],
        [prompts[i] for i in chosen.negative.tolist()],
        chosen.mean,
        chosen.value,
    )


def choose_clips(reward: Reward, a: Clips, b: Clips, config: TrainConfig) -> Selection:
    """Winner and loser of each pair; unpaired, the better and the worse half of all clips."""
    values = reward.value(Clips.concatenate([a, b]))
    if config.pairing == "unpaired":
        return select_unpaired(values)
    chosen = select_pairs(values[: len(a)], values[len(a) :])
    return decisive(chosen, values[chosen.positive] - values[chosen.negative], config.keep)


def choose_set(
    reward: Reward, a: Clips, b: Clips, pool: Sequence[Clips], config: TrainConfig, generator: torch.Generator
) -> Selection:
    """The better set, improved by the exchanges that raise r(D+).

    With a pool, r counts beside D+ all that the policy made lately, this step's two sets included: what a swap is
    worth to a handful of clips is mostly their noise, and what it is worth to the population is what the policy can
    learn (subset-replace, arXiv 2607.02291).
    """
    clips = Clips.concatenate([a, b, *pool])
    value, behind = reward.subsets(clips), torch.arange(len(clips) if config.pool else 0)
    chosen = select_positive(len(a), value, paired=config.pairing == "paired", pool=behind, generator=generator)
    return decisive(chosen, exchange_losses(chosen, value, pool=behind), config.keep)


def decisive(chosen: Selection, loss: Tensor, share: float) -> Selection:
    """The pairs that matter most: those that lose most reward when winner and loser trade places, (pairs,)."""
    kept = loss.topk(max(1, round(share * len(loss)))).indices
    return replace(chosen, positive=chosen.positive[kept], negative=chosen.negative[kept])
