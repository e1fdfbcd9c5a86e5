"""Learn the best of several generations of each prompt, as if they were data (RAFT, Dong et al., arXiv 2304.06767).

In a step of `loop.loop`, `RAFT.collect` keeps the winners of several sets of clips (`loop.selection.better_of`), and
`losses` is the denoising error on them, which `loop.learner` minimises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.media.media import Media
from dragon_train.fields import check_fields
from dragon_train.loop.selection import better_of
from dragon_train.objective_options import RAFTOptions

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
        latents: the latents of the winners, (prompts, ...).
        prompts: the prompt of each winner.
        figures: `reward`, the mean reward over all samples, and `best_reward`, the reward of the winners.
        noise: what was drawn for the gradient step.
    """

    latents: Tensor
    prompts: Sequence[str]
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Winners:
        """Return the winners that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        noise = None if self.noise is None else self.noise.select(rows)
        return replace(self, latents=self.latents[rows], prompts=prompts, noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Winners:
        """Return the same winners with fresh noise and noise levels."""
        return replace(self, noise=policy.draw(self.latents, generator))


@dataclass(frozen=True)
class RAFT(RAFTOptions):
    """An objective whose loss is the denoising error of the winner, one of `samples` generations of its prompt.

    Winners of a reward that judges sets are the set, one clip for each prompt, that greedy exchanges find. Nothing
    holds the policy near the reference but the number of steps.
    """

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Winners:
        """Sample several clips for each prompt of the step, and keep the best of each."""
        sets = [rollout.generate() for _ in range(self.samples)]
        with rollout.clock.phase("selecting"):
            best = reduce(partial(better_of, rollout.reward), sets)
            *sampled, kept = set_values(rollout.reward, [made.clips for made in (*sets, best)])
        return Winners(best.latents, best.prompts, {"reward": sum(sampled) / len(sampled), "best_reward": kept})

    def losses(self, learner: Learner, experience: Winners) -> Tensor:
        """Return the denoising error of each winner, (winners,), with gradient.

        Raises:
            ValueError: no noise was drawn for the winners.
        """
        if experience.noise is None:
            raise ValueError("these winners have no noise yet: call `draw`")
        return learner.denoising_error(experience.latents, experience.prompts, experience.noise)


def set_values(reward: AnyReward, sets: Sequence[Media]) -> list[float]:
    """Return the reward of each of several equally large sets; for rewards of single clips, its mean over the set."""
    clips = Media.concatenate(sets)
    rows = torch.arange(len(clips)).view(len(sets), -1)
    values = reward.value(clips)[rows].mean(1) if reward.kind.per_clip else reward.subsets(clips)(rows)
    return values.double().tolist()


def raft(config: TrainConfig) -> RAFT:
    """Build the objective from the options of a configuration.

    Raises:
        ConfigError: `options.samples` is no whole number from 1 on.
    """
    options: Any = config.options
    return RAFT(**options)
