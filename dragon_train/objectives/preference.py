"""Learn from preferences between D+ and D-, by Diffusion-DPO or Diffusion-KTO.

This is the end of a step of `loop.loop`. `collect` generates two sets of clips with `loop.rollout` and splits them with
`loop.selection`; `losses` is what `loop.learner` then minimises, a minibatch at a time.
"""

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
    """An objective that splits two sets of clips into D+ and D- (DRAGON, arXiv 2504.15217, algorithm 1)."""

    def collect(self, rollout: Rollout) -> Demonstrations:
        """Generate two sets of clips for the prompts of the step, and choose D+ and D- among them."""
        a, b = rollout.generate(), rollout.generate()
        with rollout.clock.phase("selecting"):
            return choose(rollout.reward, a, b, rollout.pool, rollout.config, rollout.generator)


@dataclass(frozen=True)
class DiffusionDPO(_Preference):
    """The objective Diffusion-DPO (Wallace et al., arXiv 2311.12908, equation 14).

    The winner x+ and the loser x- of a pair are noised with the same noise to the same level:

        loss = -log sigmoid(beta (r(x+) - r(x-))),    r(x) = |reference error|^2 - |policy error|^2

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    beta: float

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Return the loss of each pair, (pairs,), with gradient."""
        positive, negative = implicit_rewards(learner, experience)
        return -logsigmoid(self.beta * (positive - negative))


@dataclass(frozen=True)
class DiffusionKTO(_Preference):
    """The objective Diffusion-KTO (Li et al., arXiv 2404.04465, equation 8; KTO, arXiv 2402.01306, equation 8).

    With r as in Diffusion-DPO and the reference point z = max(0, mean r) over all demonstrations of a gradient step (of
    a microbatch), without gradient:

        loss = 1 - sigmoid(beta (r(x+) - z)) + 1 - sigmoid(beta (z - r(x-)))

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    beta: float

    def losses(self, learner: Learner, experience: Demonstrations) -> Tensor:
        """Return the sum of the losses of each positive and the negative beside it, (pairs,), with gradient."""
        positive, negative = implicit_rewards(learner, experience)
        z = ((learner.mean(positive) + learner.mean(negative)) / 2).clamp(min=0)
        gain = (self.beta * (positive - z)).sigmoid()
        return 2 - gain - (self.beta * (z - negative)).sigmoid()


def implicit_rewards(learner: Learner, demos: Demonstrations) -> tuple[Tensor, Tensor]:
    """Return the implicit rewards of D+ and of D-, each (pairs,), in one pass; both sets share noise and level.

    It notes their `margin`, and `kl`: the implicit reward of what the policy made lately estimates, in units of the
    denoising error, how far the policy has moved from the reference.

    Raises:
        ValueError: no noise was drawn for the demonstrations.
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
    """Build Diffusion-DPO with the strength `beta` of a configuration."""
    return DiffusionDPO(config.beta)


def kto(config: TrainConfig) -> DiffusionKTO:
    """Build Diffusion-KTO with the strength `beta` of a configuration."""
    return DiffusionKTO(config.beta)
