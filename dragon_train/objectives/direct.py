"""Backpropagate a differentiable reward through the last sampling steps (DRaFT-K, arXiv 2309.17400).

On a pipeline of tokens that is DRAKES (arXiv 2410.13643): drawn tokens have the gradient of a relaxed draw, and `kl`
keeps the steps near the untuned model's.

Its options regularise that as R0 does (arXiv 2503.13070): random samplers, rewards of intermediate estimates, gradients
of one length, and a penalty on what the weights have moved.

In a step of `loop.loop`, `DirectReward.collect` records where generations start, and `losses` generates from there
again, with gradient. No preference is chosen, so `objectives.preference` has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import normalize

from dragon_rewards.errors import ConfigError
from dragon_train.fields import check_fields
from dragon_train.loop.rollout import clips_for
from dragon_train.objective_options import DirectOptions
from dragon_train.objectives.divergence import check_diverging, mean_divergence, recorded
from dragon_train.objectives.trajectories import walk, warn_of_guidance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Media
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
        largest_eta: the most random that diffusion steps may be; with 0 the pipeline's own sampler is taken.
        eta: how random they are in this gradient step.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    reward: AnyReward
    figures: Mapping[str, float]
    largest_eta: float = 0.0
    eta: float = 0.0

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Starts:
        """Return the starts that `rows`, a tensor of indices, names."""
        chosen = rows.tolist()
        return replace(self, prompts=[self.prompts[i] for i in chosen], seeds=[self.seeds[i] for i in chosen])

    def draw(self, policy: Policy, generator: torch.Generator) -> Starts:  # noqa: ARG002  the seeds are the noise
        """Return the same starts, with a drawn randomness of the steps where there may be any."""
        if not self.largest_eta:
            return self
        return replace(self, eta=self.largest_eta * float(torch.rand(1, generator=generator)))


@dataclass(frozen=True)
class DirectReward(DirectOptions):
    """An objective whose loss is the negative reward of clips that are generated with gradient.

    The gradient flows through the encoder and the decoder, where the reward does not read latents, and through the
    denoiser in the last `gradient_steps` diffusion steps. With x the clip, D what each of these steps except the last
    would end at, and W the weights:

        loss = -r(x) - intermediate mean r(D) + weight_penalty |W - W_untuned|^2 + kl KL(steps || untuned steps)

    A reward that judges sets judges the clips that are in memory together (a microbatch, in one process).
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")
        if self.intermediate and self.gradient_steps == 1:
            raise ConfigError(
                "options.intermediate: with gradient_steps = 1 no step before the last has a gradient; take more"
            )

    def collect(self, rollout: Rollout) -> Starts:
        """Return the prompts and seeds of the step, with the reward of what the policy makes of them now."""
        if self.own_steps:
            warn_of_guidance(rollout)
        if self.kl:
            check_diverging(rollout)
        made = rollout.generate()
        with rollout.clock.phase("selecting"):
            value = float(rollout.reward.value(made.clips).double().mean())
        return Starts(rollout.prompts, made.seeds, rollout.reward, {"reward": value}, self.eta)

    @property
    def own_steps(self) -> bool:
        """Whether the steps are the trainer's: the pipeline's have no randomness, and do not say where they lead."""
        return bool(self.eta or self.intermediate)

    def losses(self, learner: Learner, experience: Starts) -> Tensor:
        """Return the loss of each start, (starts,), with gradient through what made the clip."""
        with recorded(learner.policy.denoiser, wanted=bool(self.kl)) as calls:
            *earlier, last = self.estimates(learner, experience)
        loss = -self.value(learner, experience, last)
        if self.intermediate:
            values = torch.stack([self.value(learner, experience, each) for each in earlier])
            loss = loss - self.intermediate * values.mean(0)
        if self.weight_penalty:
            loss = loss + self.weight_penalty * learner.distance()
        if self.kl:
            divergence = mean_divergence(learner, calls, len(experience))
            learner.note("kl", divergence.expand(len(experience)))
            loss = loss + self.kl * divergence
        return loss.expand(len(experience))

    def estimates(self, learner: Learner, experience: Starts) -> Sequence[Tensor]:
        """Return the latents of the clips, (clips, ...), after what earlier steps with gradient would end at."""
        config, starts = learner.config, (experience.prompts, experience.seeds)
        steps = config.demonstration_steps
        with learner.autocast():
            if not self.own_steps:
                return [learner.policy.sample(*starts, steps, config.guidance, self.gradient_steps)]
            first = max(steps - self.gradient_steps, 0)
            walked = walk(learner.policy, *starts, experience.seeds, [experience.eta] * steps, first)
            return [estimate.float() for _, estimate in walked if estimate.requires_grad]

    def value(self, learner: Learner, experience: Starts, latents: Tensor) -> Tensor:
        """Return the reward of latents, (clips,) or of the set (), with the gradient that is to be followed."""
        reward, asked = experience.reward, (learner.policy, latents, experience.prompts)
        if self.balance:
            return balanced(reward, *asked)
        clips = clips_for(reward.parts, *asked)
        for part in reward.parts if latents.requires_grad else ():
            followed(part, clips)  # in a mixture, a part without gradient would not count, and nothing would say so
        return reward.value(clips)


def followed(part: AnyReward, clips: Media) -> Tensor:
    """Return the value of a part of the reward, (clips,) or (), whose gradient is to be followed.

    Raises:
        ConfigError: it has none.
    """
    value = part.value(clips)
    if not value.requires_grad:
        raise ConfigError(f"reward '{part.name}' has no gradient to follow; train by another objective, as kto")
    return value


def balanced(reward: AnyReward, policy: Policy, latents: Tensor, prompts: Sequence[str]) -> Tensor:
    """Return the value of a mixture, (clips,) or (), whose gradient is the weighed sum of its parts' unit gradients.

    With g_j the gradient of part j in the latents of a clip (R0, arXiv 2503.13070, normalises rewards so), the gradient
    is the sum over j of w_j g_j / |g_j|: a part pulls by its weight, whatever its unit.

    Args:
        reward: a mixture, or a single reward.
        policy: decodes.
        latents: (clips, ...), with gradient.
        prompts: one text per clip.
    """
    leaf = latents.detach().requires_grad_()
    clips = clips_for(reward.parts, policy, leaf, prompts)
    pull = torch.zeros_like(leaf)
    for part, weight in zip(reward.parts, reward.weights, strict=True):
        (found,) = torch.autograd.grad(followed(part, clips).sum(), leaf, retain_graph=True)
        pull += weight * normalize(found.flatten(1), dim=1).view_as(found)
    along = (pull * latents).flatten(1).sum(1)
    return reward.value(clips).detach() + along - along.detach()


def direct(config: TrainConfig) -> DirectReward:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or `intermediate` has nothing to act on.
    """
    options: Any = config.options
    return DirectReward(**options)
