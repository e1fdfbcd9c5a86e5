"""Objectives: what they want of an on-policy step, and the loss on it that moves the policy toward the reward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

    from dragon_train.loop.learner import Learner
    from dragon_train.loop.rollout import Rollout
    from dragon_train.pipelines.base import Policy


class Experience(Protocol):
    """What one step gives an objective to learn from: a number of units, such as pairs of clips or trajectories."""

    @property
    def figures(self) -> Mapping[str, float]:
        """What is recorded of the step; `reward` is among them, the mean reward of what the policy made."""
        ...

    def __len__(self) -> int:
        """How many units."""
        ...

    def select(self, rows: Tensor) -> Self:
        """These units alone, with what was drawn for them."""
        ...

    def draw(self, policy: Policy, generator: torch.Generator) -> Self:
        """The same units with fresh noise for one gradient step."""
        ...


AnyExperience = TypeVar("AnyExperience", bound=Experience)


class Objective(Protocol[AnyExperience]):
    """How a policy learns from a reward."""

    def collect(self, rollout: Rollout) -> AnyExperience:
        """Let the policy generate, and judge it; the same in every process."""
        ...

    def losses(self, learner: Learner, experience: AnyExperience) -> Tensor:
        """One value to minimise for each unit, (units,); the learner gives access to policy and reference."""
        ...
