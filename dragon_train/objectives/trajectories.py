"""Sample by stochastic steps of which the likelihood is known, on any noise process.

Objectives that learn from trajectories (`objectives.grpo`, `prdp`) give a `Trajectories` to `Rollout.generate`, which
records the points that a clip passed; in their losses they ask how likely the policy is to take the same steps.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch

from dragon_rewards.errors import ConfigError
from dragon_train.pipelines.noise import per_clip
from dragon_train.protocols import Draw, SteppingPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from torch import Tensor

    from dragon_train.protocols import Learner, Policy, Rollout

    Coefficients = tuple[Tensor, Tensor]  # alpha and sigma of each clip

log = logging.getLogger(__name__)


def stochastic_step(
    noisy: Tensor, estimate: Tensor, now: Coefficients, then: Coefficients, eta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean and the deviation of a step to less noise, and how much the estimate counts in the mean.

    With x the noisy latents, D the estimate of the clean ones, a and s the coefficients alpha and sigma of now, and a'
    and s' of then (DDIM, arXiv 2010.02502, equations 12 and 16, for any alpha and sigma):

        deviation = eta s' sqrt(1 - (a s' / (a' s))^2)
        mean      = a' D + sqrt(s'^2 - deviation^2) (x - a D) / s
        weight    = a' - sqrt(s'^2 - deviation^2) a / s

    Args:
        noisy: x, (clips, ...).
        estimate: D, (clips, ...).
        now: a and s of each clip, both (clips,); s is positive.
        then: a' and s', where s' / a' is less than s / a.
        eta: 0 is deterministic, 1 as random as the process itself.

    Returns:
        The mean (clips, ...), and deviation and weight, both (clips, 1, ...).
    """
    (alpha, sigma), (alpha_then, sigma_then) = ([per_clip(part, noisy) for part in pair] for pair in (now, then))
    kept = (alpha * sigma_then / (alpha_then * sigma)).square()
    deviation = eta * sigma_then * (1 - kept).clamp(min=0).sqrt()
    noise = (sigma_then.square() - deviation.square()).clamp(min=0).sqrt() / sigma
    weight = alpha_then - noise * alpha
    return weight * estimate + noise * noisy, deviation, weight


def log_ratio(noise: Tensor, shift: Tensor, deviation: Tensor) -> Tensor:
    """Return log p / p' of steps that were taken with density p', (clips,), as means over dimensions.

    Of two normal densities with one deviation d, where the step was the mean of p' plus d times the noise, and the mean
    of p is further by the shift:

        log p / p' = noise shift / d - shift^2 / (2 d^2)

    Args:
        noise: (clips, ...).
        shift: (clips, ...).
        deviation: (clips, 1, ...).
    """
    return (noise * shift / deviation - (shift / deviation).square() / 2).flatten(1).mean(1)


@dataclass(frozen=True)
class Trajectories:
    """A sampler of `Rollout.generate` that takes its own steps without guidance, at random in a window of them.

    Attributes:
        steps: the number of diffusion steps.
        eta: how random the steps of the window are; the others are deterministic.
        window: the places of the random steps, which follow on each other; the last step is never one.
        start_seed: the seed of the noise that a clip of this prompt and this seed starts from.
    """

    steps: int
    eta: float
    window: range
    start_seed: Callable[[str, int], int] = lambda _, seed: seed

    @property
    def points(self) -> int:
        """The number of points that are recorded of each clip: before, between and after the random steps."""
        return len(self.window) + 1

    @torch.no_grad()
    def __call__(self, policy: Policy, prompts: Sequence[str], seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the latents (clips, ...) and the points before and after the steps of the window (clips, w + 1, ...).

        Raises:
            ConfigError: the policy does not say what its steps are, or takes fewer than the window has.
        """
        starts = [self.start_seed(*each) for each in zip(prompts, seeds, strict=True)]
        random = [self.eta if place in self.window else 0.0 for place in range(self.steps)]
        passed = list(walk(policy, prompts, seeds, starts, random))
        if len(passed) <= self.window.stop:
            raise ConfigError(
                f"demonstration_steps = {self.steps}: this pipeline's schedule then has {len(passed)} levels, "
                "and trajectories need one more than they have random steps; take more steps"
            )
        points = [noisy for noisy, _ in passed[self.window.start : self.window.stop + 1]]
        return passed[-1][1].float(), torch.stack(points, 1).float()


def walk(
    policy: Policy,
    prompts: Sequence[str],
    seeds: Sequence[int],
    starts: Sequence[int],
    eta: Sequence[float],
    gradient_from: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the noisy latents of each step and the estimate of clean ones there; the last estimate is the clip.

    Args:
        policy: what estimates.
        prompts: one text per clip.
        seeds: one number per clip, from which the noise of random steps is drawn.
        starts: one number per clip, from which the noise before the first step is drawn.
        eta: how random each step is; the last counts for nothing.
        gradient_from: the place of the first step through which gradient flows, where the caller wants any.

    Raises:
        ConfigError: the policy does not say what its steps are.
    """
    stepping, condition = stepping_policy(policy), policy.condition(prompts)
    x, levels = stepping.start(prompts, starts, len(eta))
    for place, level in enumerate(levels):
        with torch.set_grad_enabled(torch.is_grad_enabled() and place >= gradient_from):
            estimate = estimated(stepping, x, condition, level.expand(len(x)))
        yield x, estimate
        if place + 1 < len(levels):
            now, then = (stepping.coefficients(each.expand(len(x))) for each in levels[place : place + 2])
            x, deviation, _ = stochastic_step(x, estimate, now, then, eta[place])
            x = x + deviation * step_noise(seeds, place, x) if eta[place] else x


def estimated(policy: SteppingPolicy, noisy: Tensor, condition: Mapping[str, Any], level: Tensor) -> Tensor:
    """Return what the policy makes of noisy latents, (clips, ...): they are noise on latents that are zero."""
    return policy.denoised(torch.zeros_like(noisy), condition, as_noise(policy, noisy, level))


def as_noise(policy: SteppingPolicy, noisy: Tensor, level: Tensor) -> Draw:
    """Return the draw that turns latents of zeros into these noisy ones."""
    return Draw(noisy / per_clip(policy.coefficients(level)[1], noisy), level)


def policy_step(
    learner: Learner, noisy: Tensor, prompts: Sequence[str], levels: Tensor, eta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, deviation and weight of the estimate of a step as the policy would take it now, with gradient.

    Args:
        learner: has the policy.
        noisy: the latents before the step, (clips, ...).
        prompts: one text per clip.
        levels: the noise levels before and after it, (clips, 2).
        eta: how random the step is.
    """
    policy, (level, then) = stepping_policy(learner.policy), levels.unbind(1)
    estimate = learner.denoised(torch.zeros_like(noisy), prompts, as_noise(policy, noisy, level))
    return stochastic_step(noisy, estimate, policy.coefficients(level), policy.coefficients(then), eta)


def step_noise(seeds: Sequence[int], place: int, like: Tensor) -> Tensor:
    """Draw the noise of a step of each clip, in the shape of `like`, from the clip's seed and the place of the step."""
    words = [int(np.random.SeedSequence((seed, place)).generate_state(1)[0]) for seed in seeds]
    drawn = [torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(word)) for word in words]
    return torch.stack(drawn).to(like)


def shared_start(rollout: Rollout) -> Callable[[str, int], int]:
    """Return a function that gives all clips of a prompt one seed of their first noise, a new one in every step."""

    def seed_of(prompt: str, _: int) -> int:
        entropy = (rollout.config.seed, rollout.step, crc32(prompt.encode()))
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    return seed_of


def stepping_policy(policy: Policy) -> SteppingPolicy:
    """Return the policy, whose steps the trainer can take itself.

    Raises:
        ConfigError: it does not say what its steps are.
    """
    if not isinstance(policy, SteppingPolicy):
        raise ConfigError(
            f"objective: {type(policy).__name__} has no `start` and `coefficients`, which trajectories are made with; "
            "choose an objective that needs none, such as nft"
        )
    return policy


def warn_of_guidance(rollout: Rollout) -> None:
    """Say once in a run that trajectories are sampled without the guidance that clips are otherwise made with."""
    if rollout.step == 0 and rollout.config.guidance != 1:
        log.warning(
            "trajectories are sampled and learnt without guidance, not at guidance = %g: a model that needs it is "
            "better tuned by nft or dpo",
            rollout.config.guidance,
        )
