"""Tune under constraints: maximise one reward while others stay where the untuned model has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.mixture import Mixture, mean_and_spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import AnyReward, Reward


RATE = 2.0  # half a spread below its level for one step, and a constraint counts as much as the reward


class Constraints:
    """Lagrange multipliers of rewards that are to stay at or above a level, each in the mixture by a weight of its own.

    The level is the reward of the first step's clips, which the untuned model made. After each step the multiplier of a
    reward rises by RATE times how far its clips fell short of the level, in units of its spread then, and falls, never
    below 0, by how far they exceeded it (dual ascent; Boyd and Vandenberghe, Convex Optimization, section 5.4):

        weight <- max(0, weight + RATE (level - mean) / spread)

    Attributes:
        rewards: the rewards under constraint.
        weights: the multiplier of each.
        levels: the level of each, once known.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.rewards = rewards
        self.weights: list[float] = [0.0] * len(rewards)
        self.levels: list[float] = []

    def load(self, state: Mapping[str, list[float]]) -> None:
        """Restore what `state` returned; an empty one, as of runs from before there were constraints, changes nothing.

        Raises:
            ValueError, KeyError: it is the state of other constraints.
        """
        if not state:
            return
        if any(len(state[key]) != len(self.rewards) for key in ("weights", "levels")):
            raise ValueError("its constraints are others")
        self.weights, self.levels = state["weights"], state["levels"]

    def around(self, reward: AnyReward) -> AnyReward:
        """Return what is maximised now: `reward`, and the constraints by their multipliers.

        Constraints of multiplier 0 are in it too: clips are encoded for what is maximised, and `update` judges them by
        all.
        """
        if not self.rewards:
            return reward
        return Mixture((*reward.parts, *self.rewards), (*reward.weights, *self.weights))

    def update(self, clips: Media) -> dict[str, float]:
        """Adapt the multipliers to the clips of a step; return the mean and the multiplier of each constraint."""
        standings = [mean_and_spread(reward, clips) for reward in self.rewards]
        self.levels = self.levels or [mean for mean, _ in standings]
        self.weights = [
            max(0.0, weight + RATE * (level - mean) / spread)
            for weight, level, (mean, spread) in zip(self.weights, self.levels, standings, strict=True)
        ]
        figures = zip(self.rewards, standings, self.weights, strict=True)
        return {
            key: value
            for reward, (mean, _), weight in figures
            for key, value in ((f"reward {reward.name}", mean), (f"multiplier {reward.name}", weight))
        }

    def state(self) -> dict[str, list[float]]:
        """Return the multipliers and the levels, for a checkpoint."""
        return {"weights": self.weights, "levels": self.levels}
