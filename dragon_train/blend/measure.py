"""Measure a blend: generate with it, and compare what it made with the untuned model's clips of the same seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.mixture import mean_and_spread
from dragon_rewards.scoring import build_parts
from dragon_train.bench.collateral import DENOISING, denoising_error
from dragon_train.blend.columns import REWARD, VARIETY, WIN_RATE
from dragon_train.embedded.real_music import fitting_latents
from dragon_train.loop.heldout import Heldout
from dragon_train.loop.rollout import Stream, embedded, seeds, suggested
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dragon_rewards.media.media import Media
    from dragon_train.blend.plan import Plan
    from dragon_train.blend.shares import Shares
    from dragon_train.blend.weights import Blending

EVEN = 0.5  # a win rate that shows nothing


class Meter:
    """The comparison of blends with the untuned model, on prompts to watch and always from the same seeds.

    Attributes:
        plan: what is measured.
        blending: the policy that can be any blend.
        untuned: the untuned model's clips.
        heldout: their comparison with others, which is a run's on its held-out prompts.
        levels: the mean and the standard deviation of the untuned model's clips under each reward that was maximised.
        real: latents of real clips that the denoiser is tried on; None for other pipelines than the embedded one.
    """

    def __init__(self, plan: Plan, blending: Blending) -> None:
        self.plan, self.blending = plan, blending
        for reward in plan.judging:
            build_parts(reward, blending.policy.pipeline.device)
        self.untuned = self.clips((0.0,) * plan.parts)
        self.heldout = Heldout(plan.watched, plan.reward.parts, plan.prompts, self.untuned, plan.config)
        self.levels = [mean_and_spread(part, self.untuned) for part in plan.reward.parts]
        self.real = fitting_latents() if plan.config.pipeline == EMBEDDED else None

    @torch.no_grad()
    def clips(self, shares: Shares) -> Media:
        """Generate with a blend, and embed the clips for the rewards."""
        self.blending.become(shares)
        policy, prompts, config = self.blending.policy, self.plan.prompts, self.plan.config
        numbers = seeds(Stream.HELDOUT, config.seed, count=len(prompts))
        latents = policy.sample(prompts, numbers, *suggested(policy, config.demonstration_steps, config.guidance))
        return embedded(policy, latents, prompts, self.plan.judging)

    @torch.no_grad()
    def figures(self, shares: Shares) -> dict[str, float]:
        """Return what a blend gains and what it costs, by the names in `columns`, and what `Heldout.figures` returns.

        Args:
            shares: one for each part of the denoiser.
        """
        clips = self.clips(shares)
        compared = self.heldout.figures(clips)
        figures = {REWARD: self.gain(clips), WIN_RATE: self.win_rate(compared), **compared}
        figures[VARIETY] = float(self.plan.variety.metric(clips))
        if self.real:
            figures[DENOISING] = denoising_error(self.blending.policy, self.real.latents, self.real.captions)
        return figures

    def gain(self, clips: Media) -> float:
        """Return how much more reward clips have than the untuned model's, in units of their spread.

        With the mean m_i and the standard deviation d_i of the untuned model's clips under reward i, whose weight is
        w_i, and the mean M_i of the clips, it is

            sum_i w_i (M_i - m_i) / d_i / sum_i |w_i|

        Both are taken over clips, or under a reward of sets over random halves (`mixture.mean_and_spread`).
        """
        means = [mean_and_spread(part, clips)[0] for part in self.plan.reward.parts]
        return self.weighted((mean - level) / spread for mean, (level, spread) in zip(means, self.levels, strict=True))

    def win_rate(self, compared: Mapping[str, float]) -> float:
        """Return the mean win rate under the rewards that were maximised; one of negative weight is to lose."""
        return EVEN + self.weighted(compared[f"win rate {part.name}"] - EVEN for part in self.plan.reward.parts)

    def weighted(self, values: Iterable[float]) -> float:
        """Return the sum of a value of each reward that was maximised by their weights, over the sum of their sizes."""
        weights = self.plan.reward.weights
        return sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(map(abs, weights))
