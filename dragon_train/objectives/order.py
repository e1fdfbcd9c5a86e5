"""Learn the order of several clips of each prompt, whatever the sizes of their rewards are.

In a step of `loop.loop`, `collect` generates groups of clips (`objectives.groups`), and `losses` asks that the implicit
rewards within each group stand in the order of the rewards, as order-preserving GFlowNets do (arXiv 2310.00386).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dragon_train.fields import check_fields
from dragon_train.objective_options import Beta, OrderOptions
from dragon_train.objectives.groups import dominates, judged_groups
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Learner, Policy, Rollout


@dataclass(frozen=True)
class Ranked:
    """Groups of clips with what they are ranked by; a unit is a group.

    Attributes:
        latents: the latents of the clips, (units, group, ...).
        prompts: the prompt of each group.
        judged: the credit of each clip by each judge, (judges, units, group).
        figures: what the step records.
        noise: what was drawn for the gradient step, (units, ...); the clips of a group share it.
    """

    latents: Tensor
    prompts: Sequence[str]
    judged: Tensor
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Ranked:
        """Return the groups that `rows`, a tensor of indices, names."""
        prompts = [self.prompts[row] for row in rows.tolist()]
        noise = None if self.noise is None else self.noise.select(rows.to(self.latents.device))
        latents, judged = self.latents[rows.to(self.latents.device)], self.judged[:, rows.to(self.judged.device)]
        return replace(self, latents=latents, prompts=prompts, judged=judged, noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Ranked:
        """Return the same groups with fresh noise and one level for each."""
        return replace(self, noise=policy.draw(self.latents[:, 0], generator))


@dataclass(frozen=True)
class Order(OrderOptions, Beta):
    """An objective that ranks a group by `beta` times the implicit rewards of its clips, all noised alike.

    With r the implicit reward of Diffusion-DPO, the rules `top` and `front` maximise the mean log-probability of the
    best clips, which for `front` are those that no other clip of the group dominates in the parts of a mixture, and
    `full` the likelihood of the whole order (Plackett 1975; ties by Breslow 1974):

        top, front:  -mean over best i of log(exp(beta r_i) / sum over j of exp(beta r_j))
        full:        -sum over i of log(exp(beta r_i) / sum over j no better than i of exp(beta r_j))

    Of two clips that are no tie, all are the loss of Diffusion-DPO.

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Ranked:
        """Generate groups of clips for the prompts of the step, and judge them."""
        groups = judged_groups(rollout, self.group, separately=self.rule == "front")
        return Ranked(groups.latents, groups.prompts, groups.judged, groups.figures())

    def losses(self, learner: Learner, experience: Ranked) -> Tensor:
        """Return the loss of each group, (units,), with gradient.

        Raises:
            ValueError: no noise was drawn for the groups.
        """
        if experience.noise is None:
            raise ValueError("these groups have no noise yet: call `draw`")
        drawn = experience.noise.noise, experience.noise.level
        noise, level = (part.repeat_interleave(self.group, 0) for part in drawn)
        prompts = [text for text in experience.prompts for _ in range(self.group)]
        rewards = learner.implicit_reward(experience.latents.flatten(0, 1), prompts, Draw(noise, level))
        learner.note("kl", rewards)
        scores = self.beta * rewards.view(-1, self.group)
        judged = experience.judged.to(scores.device)
        return order_loss(scores, judged.sum(0)) if self.rule == "full" else top_loss(scores, judged)


def order_loss(scores: Tensor, rewards: Tensor) -> Tensor:
    """Return minus the log-likelihood of the order of each group, (units,).

    Args:
        scores: what ranks the clips, (units, group), with gradient.
        rewards: what they are to be ranked by, (units, group).
    """
    better = rewards[:, None, :] > rewards[:, :, None]  # (units, i, j): j is better than i
    no_better = scores[:, None, :].masked_fill(better, float("-inf"))
    return (no_better.logsumexp(2) - scores).sum(1)


def top_loss(scores: Tensor, judged: Tensor) -> Tensor:
    """Return minus the mean log-probability of the clips of each group that no other dominates, (units,).

    Args:
        scores: what ranks the clips, (units, group), with gradient.
        judged: what the judges say of them, (judges, units, group).
    """
    dominated = dominates(judged[:, :, None, :], judged[:, :, :, None]).any(2)  # i by any j
    best = (~dominated).to(scores.dtype)
    return -(best * scores.log_softmax(1)).sum(1) / best.sum(1)


def order(config: TrainConfig) -> Order:
    """Build the objective from beta and the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow.
    """
    options: Any = config.options
    return Order(beta=config.beta, **options)
