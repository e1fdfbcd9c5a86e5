"""Make the steps of good trajectories likelier (Flow-GRPO, arXiv 2505.05470; in a window, MixGRPO, arXiv 2507.21802).

In a step of `loop.loop`, `collect` generates groups of clips by the trainer's own steps (`objectives.trajectories`), of
which those in a window are random, and gives each clip its advantage. `losses` compares how likely the policy is to
take the same random steps with how likely it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import ConfigError
from dragon_train.fields import check_fields
from dragon_train.objective_options import GRPOOptions
from dragon_train.objectives.advantages import advantages
from dragon_train.objectives.groups import judged_groups
from dragon_train.objectives.trajectories import (
    Trajectories,
    policy_step,
    shared_start,
    step_noise,
    stepping_policy,
    warn_of_guidance,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.objectives.groups import Groups
    from dragon_train.protocols import Learner, Policy, Rollout


@dataclass(frozen=True)
class Transitions:
    """Random steps of trajectories with the advantages of the clips that they led to; a unit is a step.

    Attributes:
        before: the noisy latents before the step, (units, ...).
        after: the noisy latents after it, (units, ...).
        noise: the noise of the step, (units, ...).
        levels: the noise levels before and after it, (units, 2).
        prompts: the prompt of each unit.
        advantage: the advantage of each unit's clip, (units,).
        figures: what the step of training records.
    """

    before: Tensor
    after: Tensor
    noise: Tensor
    levels: Tensor
    prompts: Sequence[str]
    advantage: Tensor
    figures: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Transitions:
        """Return the units that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.before.device)
        names = ("before", "after", "noise", "levels", "advantage")
        return replace(self, prompts=prompts, **{name: getattr(self, name)[rows] for name in names})

    def draw(self, policy: Policy, generator: torch.Generator) -> Transitions:  # noqa: ARG002  noise is the step's own
        """Return the same units: a trajectory has its noise."""
        return self


@dataclass(frozen=True)
class GRPO(GRPOOptions):
    """An objective that follows the policy gradient of random diffusion steps, within a trust region.

    With A the advantage of the clip, z the noise of the step, m its mean under the policy and m' under the policy that
    took it, d its deviation, and w the weight of the denoiser's estimate in m (`trajectories.stochastic_step`):

        ratio = exp(mean over dimensions of z (m - m'))
        loss  = max(-A ratio, -A clip(ratio, 1 - clip, 1 + clip)) / w + kl |m - m_0|^2 / (2 d^2)

    The ratio of likelihoods (arXiv 2505.05470, equation 5) is the exponential of z (m - m') / d - (m - m')^2 / (2 d^2).
    Without its second term it is 1 on average, and with d and w every step has an equal say (GRPO-Guard, arXiv
    2510.22319, whose step length is replaced by w, as that is defined for every noise process).
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Transitions:
        """Generate groups of trajectories that start from the same noise, and compare each clip with its group."""
        warn_of_guidance(rollout)
        steps = rollout.config.demonstration_steps
        window = self.window_at(rollout.step, steps)
        sampler = Trajectories(steps, self.eta, window, shared_start(rollout))
        groups = judged_groups(rollout, self.group, separately=self.advantage == "jury", sampler=sampler)
        found = advantages(groups.judged, self.advantage, self.tie)
        figures = {**groups.figures(), "tied": float((found == 0).all(1).double().mean())}
        levels = stepping_policy(rollout.policy).start(rollout.prompts[:1], [0], steps)[1]
        return transitions(groups, found, levels, window, figures)

    def window_at(self, step: int, steps: int) -> range:
        """Return the places of the random diffusion steps in a step of training.

        The window begins at the noisiest step, moves on by one after every `dwell` steps of training, and starts over.

        Raises:
            ConfigError: there are not more diffusion steps than the window has.
        """
        if self.window >= steps:
            raise ConfigError(
                f"options.window = {self.window}: of demonstration_steps = {steps} the last is never random; take a "
                "smaller window or more steps"
            )
        first = step // self.dwell % (steps - self.window)
        return range(first, first + self.window)

    def losses(self, learner: Learner, experience: Transitions) -> Tensor:
        """Return the loss of each unit, (units,), with gradient."""
        asked = experience.before, experience.prompts, experience.levels, self.eta
        mean, deviation, weight = policy_step(learner, *asked)
        shift = mean - (experience.after - deviation * experience.noise)
        ratio = (experience.noise * shift).flatten(1).mean(1).exp()
        loss = self.loss(ratio, experience.advantage.to(ratio)) / weight.flatten()
        learner.note("clipped", ((ratio - 1).abs() > self.clip).to(ratio))
        if not self.kl:
            return loss
        with torch.no_grad(), learner.reference():
            untuned = policy_step(learner, *asked)[0]
        divergence = ((mean - untuned) / deviation).square().flatten(1).mean(1) / 2
        learner.note("kl", divergence)
        return loss + self.kl * divergence

    def loss(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Return the loss of proximal policy optimisation (arXiv 1707.06347, equation 7), (units,)."""
        return -torch.minimum(advantage * ratio, advantage * ratio.clamp(1 - self.clip, 1 + self.clip))


def transitions(
    groups: Groups, advantage: Tensor, levels: Tensor, window: range, figures: Mapping[str, float]
) -> Transitions:
    """Return the random steps of groups of trajectories, step by step.

    Args:
        groups: the clips, with the points before and after each step of the window.
        advantage: the advantage of each clip, (prompts, group).
        levels: the levels of all diffusion steps.
        window: the places of the random steps.
        figures: what the step of training records.
    """
    points = groups.paths.flatten(0, 1)  # (clips, w + 1, ...)
    seeds = [seed for group in groups.seeds for seed in group]
    prompts = [text for text, group in zip(groups.prompts, groups.seeds, strict=True) for _ in group]
    return Transitions(
        torch.cat([points[:, i] for i in range(len(window))]),
        torch.cat([points[:, i + 1] for i in range(len(window))]),
        torch.cat([step_noise(seeds, place, points[:, 0]) for place in window]),
        torch.cat([levels[place : place + 2].expand(len(seeds), 2) for place in window]),
        prompts * len(window),
        advantage.flatten().repeat(len(window)).to(points),
        figures,
    )


def grpo(config: TrainConfig) -> GRPO:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or the window has all diffusion steps.
    """
    options: Any = config.options
    objective = GRPO(**options)
    if config.demonstration_steps:
        objective.window_at(0, config.demonstration_steps)
    return objective
