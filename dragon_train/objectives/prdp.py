"""Fit differences of rewards by differences of log-ratios (PRDP, arXiv 2402.08714).

In a step of `loop.loop`, `collect` generates groups of clips and judges them (`objectives.groups`). `losses` asks that
two clips of a prompt be as far apart in log-likelihood, compared with the untuned model's, as in reward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from dragon_train.fields import check_fields
from dragon_train.objective_options import Beta, PRDPOptions
from dragon_train.objectives.advantages import deviation
from dragon_train.objectives.groups import judged_groups
from dragon_train.objectives.standing import check_choice, credits_if_chosen
from dragon_train.objectives.trajectories import (
    Trajectories,
    log_ratio,
    policy_step,
    step_noise,
    stepping_policy,
    warn_of_guidance,
)
from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.objectives.groups import Groups
    from dragon_train.protocols import Learner, Policy, Rollout

ETA = 1.0  # all steps but the last are as random as the process, as in the paper


@dataclass(frozen=True)
class Steps:
    """The random steps of trajectories.

    Attributes:
        points: the noisy latents before, between and after them, (units, group, T + 1, ...).
        noise: the noise of each step, (units, group, T, ...).
        levels: the noise levels before, between and after them, (T + 1,).
    """

    points: Tensor
    noise: Tensor
    levels: Tensor

    def select(self, rows: Tensor) -> Steps:
        """Return the steps of the units that `rows`, a tensor of indices, names."""
        return Steps(self.points[rows], self.noise[rows], self.levels)


@dataclass(frozen=True)
class Walks:
    """Groups of clips with their rewards, and how they were made; a unit is a group.

    Attributes:
        latents: the latents of the clips, (units, group, ...).
        steps: the steps that led there; none of clips that are noised anew.
        rewards: less their group's mean, in standard deviations of the step, (units, group).
        prompts: the prompt of each group.
        figures: what the step records.
        drawn: what was drawn for the gradient step, (units, ...), which the clips of a group share.
    """

    latents: Tensor
    steps: Steps | None
    rewards: Tensor
    prompts: Sequence[str]
    figures: Mapping[str, float]
    drawn: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Walks:
        """Return the groups that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        steps = None if self.steps is None else self.steps.select(rows)
        drawn = None if self.drawn is None else self.drawn.select(rows)
        latents, rewards = self.latents[rows], self.rewards[rows]
        return replace(self, latents=latents, steps=steps, rewards=rewards, prompts=prompts, drawn=drawn)

    def draw(self, policy: Policy, generator: torch.Generator) -> Walks:
        """Return the same groups with fresh noise and one level for each, unless their steps have noise."""
        return self if self.steps else replace(self, drawn=policy.draw(self.latents[:, 0], generator))


@dataclass(frozen=True)
class PRDP(PRDPOptions, Beta):
    """An objective that regresses differences of rewards on differences of log-ratios.

    The policy that maximises R less beta KL from the untuned model has, for any two clips a and b of a prompt,

        beta (q_a - q_b) = R_a - R_b,    q = log p(clip) / p_untuned(clip)

    (arXiv 2402.08714, equation 13), and the loss is the mean square of what is missing, over all pairs of the group. R
    is in standard deviations of the step. On the path `forward`, q is the implicit reward of Diffusion-DPO, clips of
    a group noised alike. On the path `trajectory`, q is the mean of the steps' log-ratios, and a pair's loss is the
    larger one of what it is and what it is with each log-ratio clipped around its value when the step was taken
    (equations 18 to 21).

    Attributes:
        beta: the strength of the pull toward the reference.
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Walks:
        """Generate groups of clips for the prompts of the step, and judge them."""
        if self.path == "forward":
            groups = judged_groups(rollout, self.group)
            return Walks(groups.latents, None, *self.described(rollout, groups))
        warn_of_guidance(rollout)
        steps = rollout.config.demonstration_steps
        groups = judged_groups(rollout, self.group, sampler=Trajectories(steps, ETA, range(steps - 1)))
        levels = stepping_policy(rollout.policy).start(rollout.prompts[:1], [0], steps)[1]
        noise = [
            torch.stack([step_noise(seeds, place, groups.latents[0]) for place in range(steps - 1)], 1)
            for seeds in groups.seeds
        ]
        steps_taken = Steps(groups.paths, torch.stack(noise), levels)
        return Walks(groups.latents, steps_taken, *self.described(rollout, groups))

    def described(self, rollout: Rollout, groups: Groups) -> tuple[Tensor, Sequence[str], Mapping[str, float]]:
        """Return the rewards of groups in standard deviations of the step, their prompts, and what the step records.

        Rewards are less their group's mean, as differences alone count, and would be rounded beside a large mean.
        """
        judged, figures = credits_if_chosen(rollout, groups, self.best_of, self.worst_of)
        rewards = judged.sum(0)
        scale = deviation(rewards, None).clamp(min=torch.finfo(rewards.dtype).tiny)
        return (rewards - rewards.mean(1, keepdim=True)) / scale, groups.prompts, figures

    def losses(self, learner: Learner, experience: Walks) -> Tensor:
        """Return the loss of each group, (units,), with gradient.

        Raises:
            ValueError: no noise was drawn for the groups.
        """
        if experience.steps:
            now, held = self.log_ratios(learner, experience.steps, experience.prompts)
        elif experience.drawn is not None:
            now = held = self.implicit(learner, experience, experience.drawn)
        else:
            raise ValueError("these groups have no noise yet: call `draw`")
        learner.note("kl", now.mean(1))
        rewards = experience.rewards.to(now)
        errors = torch.maximum(pair_errors(self.beta * now, rewards), pair_errors(self.beta * held, rewards))
        return errors.sum((1, 2)) / (self.group * (self.group - 1))

    def implicit(self, learner: Learner, experience: Walks, drawn: Draw) -> Tensor:
        """Return the implicit reward of each clip, (units, group), at the noise that its group shares."""
        noise, level = (part.repeat_interleave(self.group, 0) for part in (drawn.noise, drawn.level))
        prompts = [text for text in experience.prompts for _ in range(self.group)]
        rewards = learner.implicit_reward(experience.latents.flatten(0, 1), prompts, Draw(noise, level))
        return rewards.view(-1, self.group)

    def log_ratios(self, learner: Learner, steps: Steps, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the mean log-ratio of each trajectory, and the same of its clipped log-ratios, both (units, group)."""
        texts = [text for text in prompts for _ in range(self.group)]
        found = [step_ratios(learner, steps, texts, place) for place in range(steps.noise.shape[2])]
        now, taken = (torch.stack(each, 1) for each in zip(*found, strict=True))
        held = now.clamp(taken - self.clip, taken + self.clip)
        learner.note("clipped", (held != now).to(now).view(len(prompts), -1).mean(1))
        return now.mean(1).view(-1, self.group), held.mean(1).view(-1, self.group)


def step_ratios(learner: Learner, steps: Steps, prompts: Sequence[str], place: int) -> tuple[Tensor, Tensor]:
    """Return the log-ratio of each clip's step at a place, now and when it was taken, both (clips,).

    What the gradient wants of the denoiser is computed again in the backward pass: one step at a time is in memory.
    """
    before, after = (steps.points[:, :, i].flatten(0, 1) for i in (place, place + 1))
    levels = steps.levels[place : place + 2].expand(len(prompts), 2)
    asked = learner, before, prompts, levels, ETA
    with torch.no_grad(), learner.reference():
        untuned, spread, _ = policy_step(*asked)
    mean: Tensor = checkpoint(policy_step, *asked, use_reentrant=False)[0]
    noise, taken = (after - untuned) / spread, after - spread * steps.noise[:, :, place].flatten(0, 1)
    return log_ratio(noise, mean - untuned, spread), log_ratio(noise, taken - untuned, spread)


def pair_errors(scores: Tensor, rewards: Tensor) -> Tensor:
    """Return the squared error of each difference within a group, (units, group, group), which is 0 on the diagonal.

    Args:
        scores: (units, group).
        rewards: what their differences are to be, (units, group).
    """
    missing = scores - rewards
    return (missing[:, :, None] - missing[:, None, :]).square()


def prdp(config: TrainConfig) -> PRDP:
    """Build the objective from beta and the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or options contradict each other or the rewards.
    """
    options: Any = config.options
    objective = PRDP(beta=config.beta, **options)
    check_choice(config, objective.best_of, objective.worst_of)
    return objective
