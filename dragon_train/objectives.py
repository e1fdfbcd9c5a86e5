"""Objectives: the losses that move the policy toward D+ and away from D-."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dragon_train.demonstrations import Demonstrations
    from dragon_train.learner import Learner


class Objective(Protocol):
    """A loss over demonstrations; the learner gives access to policy and reference."""

    def __call__(self, learner: Learner, demonstrations: Demonstrations, generator: torch.Generator) -> Tensor:
        """A scalar to minimise."""
        ...


@dataclass(frozen=True)
class DiffusionDPO:
    """Diffusion-DPO (Wallace et al., arXiv 2311.12908, equation 14).

    loss = -mean log sigmoid(beta (r(x+) - r(x-))), r(x) = reference error - policy error: the winner and the loser of
    a pair are noised with the same noise to the same level.
    """

    beta: float

    def __call__(self, learner: Learner, demonstrations: Demonstrations, generator: torch.Generator) -> Tensor:
        """The loss of one draw of noise and levels."""
        positive, negative = learner.implicit_rewards(demonstrations, generator)
        return -logsigmoid(self.beta * (positive - negative)).mean()


@dataclass(frozen=True)
class DiffusionKTO:
    """Diffusion-KTO (Li et al., arXiv 2404.04465, equation 8; KTO, arXiv 2402.01306, equation 8).

    loss = mean(1 - sigmoid(beta (r(x+) - z))) + mean(1 - sigmoid(beta (z - r(x-)))) with r as in Diffusion-DPO and the
    reference point z = max(0, mean r) over all demonstrations, without gradient.
    """

    beta: float

    def __call__(self, learner: Learner, demonstrations: Demonstrations, generator: torch.Generator) -> Tensor:
        """The loss of one draw of noise and levels."""
        positive, negative = learner.implicit_rewards(demonstrations, generator)
        z = ((positive.mean() + negative.mean()) / 2).detach().clamp(min=0)
        gain = (self.beta * (positive - z)).sigmoid().mean()
        return 2 - gain - (self.beta * (z - negative)).sigmoid().mean()
