"""Preferences between D+ and D-: Diffusion-DPO and Diffusion-KTO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import logsigmoid

from dragon_train.loop.generations import choose

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.loop.generations import Demonstrations
    from dragon_train.loop.learner import Learner
    from dragon_train.loop.rollout import Rollout


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
        positive, negative = learner.implicit_rewards(experience)
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
        positive, negative = learner.implicit_rewards(experience)
        z = ((learner.mean(positive) + learner.mean(negative)) / 2).clamp(min=0)
        gain = (self.beta * (positive - z)).sigmoid()
        return 2 - gain - (self.beta * (z - negative)).sigmoid()


def dpo(config: TrainConfig) -> DiffusionDPO:
    """As configured."""
    return DiffusionDPO(config.beta)


def kto(config: TrainConfig) -> DiffusionKTO:
    """As configured."""
    return DiffusionKTO(config.beta)
