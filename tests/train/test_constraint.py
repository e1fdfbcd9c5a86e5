"""Multipliers of rewards that are not to fall: they rise while one is below its level, and vanish above."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dragon_rewards import Clips, compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.mixture import Mixture, mean_and_spread
from dragon_train.config import TrainConfig, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import RATE, Constraints, train
from dragon_train.objectives.configured import make_objective

REWARD = compose("per-song-fad:logmel@tunebook")


def noise(loudness: float) -> Clips:
    """Clips of noise, which are the farther from music the louder they are."""
    generator = torch.Generator().manual_seed(0)
    levels = loudness * torch.linspace(0.8, 1.2, 6)[:, None]
    return Clips(levels * torch.randn(6, 16_000, generator=generator).clamp(-4, 4) / 4, 16_000)


def test_a_multiplier_follows_how_far_its_reward_is_below_the_untuned_model() -> None:
    constraints = Constraints([REWARD])
    constraints.update(noise(0.9), noise(0.9))
    assert constraints.weights == [0.0]  # bad, and no worse than untuned
    level, _ = mean_and_spread(REWARD, noise(0.5))
    mean, spread = mean_and_spread(REWARD, noise(0.9))
    assert mean < level
    figures = constraints.update(noise(0.9), noise(0.5))
    assert figures[f"multiplier {REWARD.name}"] == pytest.approx(RATE * (level - mean) / spread)
    assert figures[f"reward {REWARD.name}"] == pytest.approx(mean)
    assert figures[f"level {REWARD.name}"] == pytest.approx(level)
    for _ in range(20):
        constraints.update(noise(0.1), noise(0.5))
    assert constraints.weights == [0.0]


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_a_model_that_does_not_learn_is_at_its_level_in_every_step(tmp_path: Path, tuning: Tuning) -> None:
    still = TrainConfig("vendi:logmel", at_least=(REWARD.name,), learning_rate=0.0, tuning=tuning)
    config = replace(still, steps=3, prompts_per_step=2, epochs=1, demonstration_steps=2)
    rows: list[dict[str, float]] = []
    objective, texts = make_objective(config), prompts("train")
    train(config, load_policy(), compose(config.reward), objective, texts, tmp_path, rows.append, device=CPU)
    assert [row[f"multiplier {REWARD.name}"] for row in rows] == pytest.approx([0.0] * 3, abs=1e-3)
    assert len({row[f"level {REWARD.name}"] for row in rows}) == 3  # other prompts, another level


def test_what_is_maximised_takes_the_constraints_in_by_their_multipliers() -> None:
    aim = compose("vendi:logmel")
    assert Constraints([]).around(aim) is aim
    constraints = Constraints([REWARD])
    constraints.load({"weights": [0.7], "levels": [-3.0]})  # release 0.1 had levels, too
    around = constraints.around(aim)
    assert isinstance(around, Mixture)
    assert around.weights == (1.0, 0.7)
    assert [part.name for part in around.parts] == [aim.name, REWARD.name]
    again = Constraints([REWARD])
    again.load(constraints.state())
    assert again.around(aim) == around
