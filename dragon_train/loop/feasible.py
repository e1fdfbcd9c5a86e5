"""Put clips that break a constraint below all others, whatever their reward (after FISOR, arXiv 2401.10700).

`loop.loop` takes these constraints instead of multipliers where a run says `constraint = "clip"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.protocols import RewardKind
    from dragon_rewards.rewards import AnyReward, Reward

QUANTILE = 0.25  # of the untuned model's clips: a mean would call half of them infeasible, and reward hardly be learnt


class ClipLevels:
    """Levels that each clip is to reach by itself, under rewards that judge clips.

    The level of a reward is the 25% quantile of what the untuned model makes of the step's prompts from the same seeds.

    Attributes:
        rewards: the rewards under constraint.
        levels: the level of each, and the standard deviation of those clips, once a step has begun.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.rewards = rewards
        self.levels: list[tuple[float, float]] = []

    def begin(self, untuned: Media) -> None:
        """Take the levels of a step from the untuned model's clips."""
        values = [reward.value(untuned).double() for reward in self.rewards]
        spreads = [float(value.std(correction=0)) or 1.0 for value in values]
        self.levels = [(float(value.quantile(QUANTILE)), spread) for value, spread in zip(values, spreads, strict=True)]

    def shortfalls(self, clips: Media) -> Tensor:
        """Return how far each clip falls short of each level, in standard deviations, (constraints, clips)."""
        short = [
            (level - reward.value(clips).double()).clamp(min=0) / spread
            for reward, (level, spread) in zip(self.rewards, self.levels, strict=True)
        ]
        return torch.stack(short)

    def figures(self, clips: Media) -> dict[str, float]:
        """Return of each reward its mean over a step's clips and its level."""
        figures: dict[str, float] = {}
        for reward, (level, _) in zip(self.rewards, self.levels, strict=True):
            mean = float(reward.value(clips).double().mean())
            figures |= {f"reward {reward.name}": mean, f"level {reward.name}": level}
        return figures


class ClipConstraints(ClipLevels):
    """Constraints that each clip keeps or breaks, by how far it falls short of all levels together.

    h(x) = sum over constraints c of max(0, level_c - r_c(x)) / spread_c
    """

    def around(self, reward: AnyReward) -> AnyReward:
        """Return what is maximised now: clips that keep all constraints by their reward, above all others."""
        return FeasibleFirst(reward, self)

    def violations(self, clips: Media) -> Tensor:
        """Return how far each clip breaks the constraints, (clips,); 0 where it keeps them all."""
        return self.shortfalls(clips).sum(0)

    def update(self, clips: Media, untuned: Media) -> dict[str, float]:  # noqa: ARG002  as of multipliers
        """Return of a step's clips the share that breaks a constraint, and the mean and the level of each reward."""
        return {"infeasible": float((self.violations(clips) > 0).double().mean()), **self.figures(clips)}

    def state(self) -> dict[str, list[float]]:
        """Return nothing: each step takes its levels anew."""
        return {}

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Restore what `state` returned.

        Raises:
            ValueError: it is the state of multipliers.
        """
        if state:
            raise ValueError("its constraints are others")


@dataclass(frozen=True)
class FeasibleFirst:
    """A reward whose value is the rank of a clip among those at hand: by violation first, and by reward where none.

    Clips that keep all constraints are ranked by the reward; the others stand below them, ranked by how little they
    break. The rank does not change with any increasing function of the reward, and has no meaning beside other clips.

    Attributes:
        reward: what is maximised, a reward of clips.
        constraints: what clips are to keep.
    """

    reward: AnyReward
    constraints: ClipConstraints

    @property
    def name(self) -> str:
        """The name of the reward that is maximised."""
        return self.reward.name

    @property
    def kind(self) -> RewardKind:
        """The kind of the reward, which judges clips."""
        return self.reward.kind

    @property
    def parts(self) -> tuple[Reward, ...]:
        """The rewards that clips are embedded for: what is maximised, and what is to be kept."""
        return (*self.reward.parts, *self.constraints.rewards)

    @property
    def weights(self) -> tuple[float, ...]:
        """The factors of the parts, of which the constraints' are 0, as they are in no sum."""
        return (*self.reward.weights, *[0.0] * len(self.constraints.rewards))

    def value(self, clips: Media) -> Tensor:
        """Return the rank of each clip, (clips,), from 0; equal clips have equal ranks.

        Raises:
            ConfigError: the clips have gradient, which ranks have not.
        """
        return self.ranks(clips, self.reward.value(clips))

    def ranks(self, clips: Media, rewards: Tensor) -> Tensor:
        """Return the rank of each clip, (clips,), by these rewards of them, (clips,), in place of the reward's own.

        Raises:
            ConfigError: the rewards have gradient, which ranks have not.
        """
        broken, rewards = self.constraints.violations(clips), rewards.double()
        if rewards.requires_grad:
            raise ConfigError('constraint = "clip" ranks clips, and ranks have no gradient; use constraint = "mean"')
        keys = torch.stack([(broken == 0).double(), torch.where(broken > 0, -broken, rewards)], 1)
        ranks: Tensor = torch.unique(keys, dim=0, return_inverse=True)[1]
        return ranks.to(rewards.dtype)

    def subsets(self, clips: Media) -> Callable[[Tensor], Tensor]:
        """Refuse, as ranks are of single clips.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f'constraint = "clip" ranks the {len(clips)} clips by themselves; use constraint = "mean"')


def check_judges_clips(reward: AnyReward, setting: str, remedy: str) -> None:
    """Refuse a reward that judges whole sets, for a setting that is of single clips.

    Args:
        reward: what judges.
        setting: the setting as a configuration has it, as in 'options.pilot = 4'.
        remedy: what to do instead.

    Raises:
        ConfigError: it judges sets.
    """
    if not reward.kind.per_clip:
        raise ConfigError(f"{setting} is of single clips, and '{reward.name}' judges a whole set; {remedy}")
