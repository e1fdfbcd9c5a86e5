"""Multipliers of rewards that are not to fall: they rise while one is below its level, and vanish above."""

from __future__ import annotations

import pytest
import torch

from dragon_rewards import Clips, compose
from dragon_rewards.mixture import Mixture, mean_and_spread
from dragon_train.loop.loop import RATE, Constraints

REWARD = compose("per-song-fad:logmel@tunebook")


def noise(loudness: float) -> Clips:
    """Clips of noise, which are the farther from music the louder they are."""
    generator = torch.Generator().manual_seed(0)
    levels = loudness * torch.linspace(0.8, 1.2, 6)[:, None]
    return Clips(levels * torch.randn(6, 16_000, generator=generator).clamp(-4, 4) / 4, 16_000)


def test_a_multiplier_follows_how_far_its_reward_is_below_the_first_step() -> None:
    constraints = Constraints([REWARD])
    assert constraints.update(noise(0.5))[f"multiplier {REWARD.name}"] == 0
    level, _ = mean_and_spread(REWARD, noise(0.5))
    (mean, spread), worse = mean_and_spread(REWARD, noise(0.9)), noise(0.9)
    assert mean < level
    figures = constraints.update(worse)
    assert figures[f"multiplier {REWARD.name}"] == pytest.approx(RATE * (level - mean) / spread)
    assert figures[f"reward {REWARD.name}"] == pytest.approx(mean)
    for _ in range(20):
        constraints.update(noise(0.1))
    assert constraints.weights == [0.0]


def test_what_is_maximised_takes_the_constraints_in_by_their_multipliers() -> None:
    aim = compose("vendi:logmel")
    assert Constraints([]).around(aim) is aim
    constraints = Constraints([REWARD])
    constraints.load({"weights": [0.7], "levels": [-3.0]})
    around = constraints.around(aim)
    assert isinstance(around, Mixture)
    assert around.weights == (1.0, 0.7)
    assert [part.name for part in around.parts] == [aim.name, REWARD.name]
    again = Constraints([REWARD])
    again.load(constraints.state())
    assert again.around(aim) == around
