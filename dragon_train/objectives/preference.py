"""Preferences between D+ and D-: Diffusion-DPO and Diffusion-KTO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import logsigmoid

from dragon_train.loop.selection import choose
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.loop.selection import Demonstrations
    from dragon_train.protocols import Learner, Rollout


class _Preference:
    """Two sets of the same prompts, split into D+ and D- (DRAGON, arXiv 2504.15217, algorithm 1)."""

    def collect(self, rollout: Rollout) -> Demonstrations:
        """The demonstrations of one step."""
        a, b = rollout.generate(), rollout.generate()
        with rollout.clock.phase("selecting"):
            return choose(rollout.reward, a, b, rollout.pool, rollout.config, rollout.generator)


@dataclass(frozen=True)
class DiffusionDPO(_Preference):
    """Diffusion-DPO (Wallace et al., arXiv 2311.12908, equation 14).

    loss = -log sigmoid(beta (r(x+) - r(x-))), r(x) = reference error - policy error: the winner and the loser of a pair
    are noised with the same noise to the same level.
    """

    beta: float

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Of each pair."""
        positive, negative = implicit_rewards(learner, experience)
        return -logsigmoid(self.beta * (positive - negative))


@dataclass(frozen=True)
class DiffusionKTO(_Preference):
    """Diffusion-KTO (Li et al., arXiv 2404.04465, equation 8; KTO, arXiv 2402.01306, equation 8).

    loss = 1 - sigmoid(beta (r(x+) - z)) + 1 - sigmoid(beta (z - r(x-))) with r as in Diffusion-DPO and the reference
    point z = max(0, mean r) over all demonstrations of a gradient step (of a microbatch), without gradient.
    """

    beta: float

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Of each positive with a negative."""
        positive, negative = implicit_rewards(learner, experience)
        z = ((learner.mean(positive) + learner.mean(negative)) / 2).clamp(min=0)
        gain = (self.beta * (positive - z)).sigmoid()
        return 2 - gain - (self.beta * (z - negative)).sigmoid()


def implicit_rewards(learner: Learner, demos: Demonstrations) -> tuple[Tensor, Tensor]:
    """The implicit rewards of D+ and of D-, each (pairs,), in one pass; both sets share noise and level.

    It notes their `margin`, and `kl`: the implicit reward of what the policy made lately estimates, in units of the
    denoising error, how far the policy has moved from the reference.
    """
    if demos.noise is None:
        raise ValueError("these demonstrations have no noise yet: call `draw`")
    latents = torch.cat([demos.positive, demos.negative])
    prompts = [*demos.positive_prompts, *demos.negative_prompts]
    rewards = learner.implicit_reward(latents, prompts, Draw.cat([demos.noise, demos.noise]))
    positive, negative = rewards.chunk(2)
    learner.note("margin", positive - negative)
    learner.note("kl", rewards)
    return positive, negative


def dpo(config: TrainConfig) -> DiffusionDPO:
    """As configured."""
    return DiffusionDPO(config.beta)


def kto(config: TrainConfig) -> DiffusionKTO:
    """As configured."""
    return DiffusionKTO(config.beta)
