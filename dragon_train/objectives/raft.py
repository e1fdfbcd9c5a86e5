"""RAFT: learn the best of several generations of each prompt, as if they were data (Dong et al., arXiv 2304.06767)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Annotated, Any

import torch
from msgspec import Meta

from dragon_rewards.media.media import Media
from dragon_train.fields import check_fields
from dragon_train.loop.selection import better_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Draw, Learner, Policy, Rollout


@dataclass(frozen=True)
class Winners:
    """The best generation of each prompt.

    Attributes:
        latents: (prompts, ...).
        prompts: their prompts.
        figures: `reward`, the mean over all samples, and `best_reward`, that of the winners.
        noise: what was drawn for the gradient step.
    """

    latents: Tensor
    prompts: Sequence[str]
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Winners:
        """These winners alone."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        noise = None if self.noise is None else self.noise.select(rows)
        return replace(self, latents=self.latents[rows], prompts=prompts, noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Winners:
        """With fresh noise and levels."""
        return replace(self, noise=policy.draw(self.latents, generator))


@dataclass(frozen=True)
class RAFT:
    """loss = the denoising error of the winner, one of `samples` generations of its prompt.

    Winners of a reward that judges sets are the set, one clip for each prompt, that greedy exchanges find. Nothing
    holds the policy near the reference but the number of steps.
    """

    samples: Annotated[int, Meta(ge=1, le=10**4)]

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Winners:
        """Sample, and keep the best of each prompt."""
        sets = [rollout.generate() for _ in range(self.samples)]
        with rollout.clock.phase("selecting"):
            best = reduce(partial(better_of, rollout.reward), sets)
            *sampled, kept = set_values(rollout.reward, [made.clips for made in (*sets, best)])
        return Winners(best.latents, best.prompts, {"reward": sum(sampled) / len(sampled), "best_reward": kept})

    def losses(self, learner: Learner, experience: Winners) -> Tensor:
        """Of each winner."""
        if experience.noise is None:
            raise ValueError("these winners have no noise yet: call `draw`")
        return learner.denoising_error(experience.latents, experience.prompts, experience.noise)


def set_values(reward: AnyReward, sets: Sequence[Media]) -> list[float]:
    """The reward of each of some equally large sets; for instance rewards its mean."""
    clips = Media.concatenate(sets)
    rows = torch.arange(len(clips)).view(len(sets), -1)
    values = reward.value(clips)[rows].mean(1) if reward.kind.per_clip else reward.subsets(clips)(rows)
    return values.double().tolist()


def raft(config: TrainConfig) -> RAFT:
    """As configured.

    Raises:
        ConfigError: `options.samples` is no whole number from 1 on.
    """
    options: Any = config.options
    return RAFT(**options)
