"""Learn from groups on the forward process (DiffusionNFT, arXiv 2509.16117; AWM, arXiv 2509.25050).

In a step of `loop.loop`, `collect` generates several clips of each prompt by the previous policy and gives each its
advantage (`objectives.groups`). `losses` noises the clips anew, as in the model's training: there are no trajectories
and no likelihoods, so any sampler and any pipeline will do. After the step the previous policy follows.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from dragon_train.fields import check_fields
from dragon_train.objective_options import NFTOptions
from dragon_train.objectives.advantages import LARGEST, advantages
from dragon_train.objectives.groups import judged_groups
from dragon_train.objectives.standing import check_choice, credits_if_chosen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Draw, Learner, Policy, Rollout

SCALE = 5.0  # of the loss, as in the authors' code, whose advantages lie between -5 and 5
SMALLEST_ERROR = 1e-5  # that the loss is divided by, as there
FOLLOWS, SLOWEST = 0.001, 0.5  # the previous policy keeps 0.1% of itself after the first step, and never more than half


@dataclass(frozen=True)
class Weighed:
    """Clips with their advantages; a unit is a clip at one noise level.

    Attributes:
        latents: the latents of each unit, (units, ...).
        prompts: the prompt of each unit.
        advantage: the advantage of each unit in parts of the largest one, between -1 and 1, (units,).
        figures: what the step records; `tied` is the share of groups without any difference.
        noise: what was drawn for the gradient step.
    """

    latents: Tensor
    prompts: Sequence[str]
    advantage: Tensor
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Weighed:
        """Return the units that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        noise = None if self.noise is None else self.noise.select(rows)
        advantage = self.advantage[rows]
        return replace(self, latents=self.latents[rows], prompts=prompts, advantage=advantage, noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Weighed:
        """Return the same units with fresh noise, and levels that cover the range."""
        return replace(self, noise=policy.draw(self.latents, generator))


@dataclass(frozen=True)
class NFT(NFTOptions):
    """An objective that moves the policy toward good clips and, by as much, away from bad ones.

    Policy and previous policy estimate the clean latents x of a noised clip as D and D'. With r = (1 + A) / 2 of the
    clip's advantage A, which lies between -1 and 1, and b the option `mixing` (arXiv 2509.16117, equation 5, for
    estimates of the latents as in the authors' code):

        plus = D' + b (D - D'),    minus = D' - b (D - D')
        loss = 5 / b (r |plus - x|^2 / |plus - x|_1 + (1 - r) |minus - x|^2 / |minus - x|_1) + kl |D - D_0|^2

    Norms are means over dimensions, divisors have no gradient, and D_0 is the untuned model's estimate. The form `awm`
    has the same first gradient, and its quadratic term is convex as well where b is more than the largest |A|:

        loss = 5 (A |D - x|^2 + b |D - D'|^2) / |D' - x|_1 + kl |D - D_0|^2
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Weighed:
        """Let the previous policy generate groups of clips, and compare each clip with its group."""
        with rollout.previous():
            groups = judged_groups(rollout, self.group, separately=self.advantage == "jury")
            judged, figures = credits_if_chosen(rollout, groups, self.best_of, self.worst_of)
        found = advantages(judged, self.advantage, self.tie)
        latents = groups.latents.flatten(0, 1)
        return Weighed(
            latents.repeat(self.levels, *[1] * (latents.ndim - 1)),
            [text for text in groups.prompts for _ in range(self.group)] * self.levels,
            (found / LARGEST).flatten().repeat(self.levels).to(latents),
            {**figures, "tied": float((found == 0).all(1).double().mean())},
        )

    def losses(self, learner: Learner, experience: Weighed) -> Tensor:
        """Return the loss of each unit, (units,), with gradient.

        Raises:
            ValueError: no noise was drawn for the units.
        """
        if experience.noise is None:
            raise ValueError("these clips have no noise yet: call `draw`")
        asked = experience.latents, experience.prompts, experience.noise
        with torch.no_grad():
            with learner.previous():
                before = learner.denoised(*asked)
            with learner.reference() if self.kl else nullcontext():
                untuned = learner.denoised(*asked) if self.kl else before
        now = learner.denoised(*asked)
        loss = self.loss(now, before, experience.latents, experience.advantage)
        learner.note("moved", squared(now - before))
        learner.note("kl", squared(now - untuned))
        return loss + self.kl * squared(now - untuned) if self.kl else loss

    def loss(self, now: Tensor, before: Tensor, clean: Tensor, advantage: Tensor) -> Tensor:
        """Return the loss of each unit without the pull toward the untuned model, (units,).

        Args:
            now: the policy's estimates, (units, ...), with gradient.
            before: the previous policy's estimates.
            clean: the latents.
            advantage: (units,), between -1 and 1.
        """
        if self.form == "awm":
            kept = self.mixing * squared(now - before)
            return SCALE * (advantage * squared(now - clean) + kept) / size(before - clean)
        step, good = self.mixing * (now - before), (1 + advantage) / 2
        plus, minus = before + step - clean, before - step - clean
        return SCALE / self.mixing * (good * squared(plus) / size(plus) + (1 - good) * squared(minus) / size(minus))

    def after(self, learner: Learner, step: int) -> None:
        """Let the previous policy follow: it keeps min(0.001 step, 0.5) of itself (the authors' first schedule)."""
        learner.follow(min(FOLLOWS * step, SLOWEST))


def squared(error: Tensor) -> Tensor:
    """Return the mean square of each unit, (units,)."""
    return error.square().flatten(1).mean(1)


def size(error: Tensor) -> Tensor:
    """Return the mean absolute value of each unit, (units,), without gradient."""
    return error.detach().abs().flatten(1).mean(1).clamp(min=SMALLEST_ERROR)


def nft(config: TrainConfig) -> NFT:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: an option has a value that it does not allow, or options contradict each other or the rewards.
    """
    options: Any = config.options
    objective = NFT(**options)
    check_choice(config, objective.best_of, objective.worst_of, objective.advantage)
    return objective
