"""Backpropagate a differentiable reward through the last sampling steps (DRaFT-K, arXiv 2309.17400).

In a step of `loop.loop`, `DirectReward.collect` records where generations start, and `losses` generates from there
again, with gradient. No preference is chosen, so `objectives.preference` has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dragon_train.fields import check_fields
from dragon_train.loop.rollout import clips_for
from dragon_train.objective_options import DirectOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Learner, Policy, Rollout


@dataclass(frozen=True)
class Starts:
    """The starts of generations: a prompt and a seed each.

    Attributes:
        prompts: one text for each clip.
        seeds: one number for each clip, from which its initial noise is drawn.
        reward: the reward that is maximised in this step.
        figures: `reward`, the mean over the clips as the policy makes them before it learns.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    reward: AnyReward
    figures: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Starts:
        """Return the starts that `rows`, a tensor of indices, names."""
        chosen = rows.tolist()
        return replace(self, prompts=[self.prompts[i] for i in chosen], seeds=[self.seeds[i] for i in chosen])

    def draw(self, policy: Policy, generator: torch.Generator) -> Starts:  # noqa: ARG002  the seeds are the noise
        """Return the starts unchanged: a start is generated from anew, not noised."""
        return self


@dataclass(frozen=True)
class DirectReward(DirectOptions):
    """An objective whose loss is the negative reward of clips that are generated with gradient.

    The gradient flows through the encoder and the decoder, where the reward does not read latents, and through the
    denoiser in the last `gradient_steps` diffusion steps:

        loss = -r(x)

    A reward that judges sets judges the clips that are in memory together (a microbatch, in one process).
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Starts:
        """Return the prompts and seeds of the step, with the reward of what the policy makes of them now."""
        made = rollout.generate()
        with rollout.clock.phase("selecting"):
            value = float(rollout.reward.value(made.clips).double().mean())
        return Starts(rollout.prompts, made.seeds, rollout.reward, {"reward": value})

    def losses(self, learner: Learner, experience: Starts) -> Tensor:
        """Return the negative reward of each start, (starts,), with gradient through what made the clip."""
        policy, config, prompts = learner.policy, learner.config, experience.prompts
        steps, guidance = config.demonstration_steps, config.guidance
        latents = policy.sample(prompts, experience.seeds, steps, guidance, self.gradient_steps)
        clips = clips_for(experience.reward.parts, policy, latents, prompts)
        return -experience.reward.value(clips).expand(len(prompts))


def direct(config: TrainConfig) -> DirectReward:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: `options.gradient_steps` is no whole number from 1 on.
    """
    options: Any = config.options
    return DirectReward(**options)
