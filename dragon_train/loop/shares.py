"""Let a share of the clips break a constraint, and weigh constraints so that all weights add up to 1.

`loop.loop` takes these constraints instead of multipliers where a run says `constraint = "share"`. The costs are
indicators, and the weights a softmax, as a thesis on reward specification has them (arXiv 2412.07177).
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.mixture import Mixture
from dragon_train.loop.feasible import QUANTILE, ClipLevels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import AnyReward, Reward

ALLOWED = QUANTILE  # the share of the clips that may break a constraint: as many of the untuned model's do
RATE = 0.1  # of the logits, for a share that is one standard error too large
PULL = 3.0  # of that share on the weights at once; with 1 the momentum of Adam keeps a run swinging
START = -3.0  # a logit, by which a constraint begins with 5% of the weight


class ShareConstraints(ClipLevels):
    """Constraints that a share of the clips may break, each in the mixture by a weight that rises while more do.

    With v_c the share of a step's n clips that fall short of level c, and d the share that may, after each step

        e_c = (v_c - d) / sqrt(d (1 - d) / n),    z_c <- z_c + RATE e_c,
        weights = softmax(0, z_1 + PULL e_1, z_2 + PULL e_2, ...)

    The first weight is the reward's: as constraints bind it falls, and the whole stays of one size.

    A weight moves the policy, whose clips show the sum of all moves; z alone is a sum over these again, and a loop of
    two sums swings without end. The term PULL e is what damps it (of multipliers: Stooke et al., arXiv 2007.03964).
    With m how far the clips have moved and e = k m, a policy that moves by G a step for a unit of the logits has

        m'' = -G k (PULL m' + RATE m)

    Attributes:
        logits: z of each constraint.
        errors: e of each constraint in the last step.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        super().__init__(rewards)
        self.logits = [START] * len(rewards)
        self.errors = [0.0] * len(rewards)

    @property
    def weights(self) -> list[float]:
        """The weight of the reward, and after it of each constraint; they add up to 1."""
        pulled = [logit + PULL * error for logit, error in zip(self.logits, self.errors, strict=True)]
        return torch.tensor([0.0, *pulled], dtype=torch.float64).softmax(0).tolist()

    def around(self, reward: AnyReward) -> AnyReward:
        """Return what is maximised now: the reward and the constraints by their weights."""
        own, *others = self.weights
        return Mixture((*reward.parts, *self.rewards), (*(own * weight for weight in reward.weights), *others))

    def update(self, clips: Media, untuned: Media) -> dict[str, float]:  # noqa: ARG002  as of multipliers
        """Adapt the weights to a step's clips; return of each constraint the share that breaks it, and its weight."""
        shares = (self.shortfalls(clips) > 0).double().mean(1).tolist()
        deviation = sqrt(ALLOWED * (1 - ALLOWED) / len(clips))
        self.errors = [(share - ALLOWED) / deviation for share in shares]
        self.logits = [logit + RATE * error for logit, error in zip(self.logits, self.errors, strict=True)]
        figures = self.figures(clips)
        for reward, share, weight in zip(self.rewards, shares, self.weights[1:], strict=True):
            figures |= {f"broken {reward.name}": share, f"weight {reward.name}": weight}
        return figures

    def state(self) -> dict[str, list[float]]:
        """Return the logits and the last errors of the constraints, which a checkpoint keeps."""
        return {"logits": [*self.logits], "errors": [*self.errors]}

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError, KeyError: it is the state of other constraints.
        """
        if any(len(state[name]) != len(self.rewards) for name in ("logits", "errors")):
            raise ValueError("its constraints are others")
        self.logits, self.errors = [*state["logits"]], [*state["errors"]]
