"""Objectives that learn without pairs: they raise their reward on the embedded model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pytest
import torch

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_rewards.metrics import vendi_score
from dragon_rewards.mixture import compose_mixture
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import train
from dragon_train.loop.rollout import generate
from dragon_train.loop.selection import better_of
from dragon_train.objectives.configured import completed, make_objective
from dragon_train.objectives.raft import set_values
from dragon_train.pipelines.stable_audio import StableAudioPolicy
from dragon_train.protocols import Generations

TEXTS = prompts("watch")[:12]


@pytest.fixture(scope="module")
def three_sets(frozen_policy: StableAudioPolicy) -> list[Generations]:
    return [generate(frozen_policy, TEXTS, range(s, s + len(TEXTS)), 3, 1.0) for s in (0, 100, 200)]


@pytest.mark.parametrize("name", ["per-song-fad:clap@airs", "vendi:clap"])
def test_winners_are_one_clip_of_each_prompt_and_better_than_every_set(
    name: str, three_sets: list[Generations]
) -> None:
    reward = compose(name)
    best = reduce(partial(better_of, reward), three_sets)
    assert list(best.prompts) == list(TEXTS)
    *sampled, kept = set_values(reward, [made.clips for made in (*three_sets, best)])
    assert sampled == pytest.approx([float(reward.value(made.clips).mean()) for made in three_sets])
    assert kept > max(sampled)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "settings"),
    [
        ("per-song-fad:clap@airs", {"objective": "direct", "learning_rate": 1e-3, "minibatch": 4}),
        ("per-song-fad:clap@airs", {"objective": "direct", "options": {"gradient_steps": 2}, "learning_rate": 1e-3}),
    ],
)
def test_an_objective_raises_its_reward(reward: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """On prompts that it was not trained on, from the same seeds before and after."""
    config = replace(TrainConfig(reward, steps=4, prompts_per_step=12, demonstration_steps=3), **settings)
    policy, judge = load_policy(), compose(reward)
    before = judge.value(generate(policy, TEXTS, range(12), 3, 1.0).clips)
    train(completed(config), policy, judge, make_objective(config), prompts("train"), tmp_path, lambda _: None)
    after = judge.value(generate(policy, TEXTS, range(12), 3, 1.0).clips)
    assert (after > before).float().mean() > 0.7


def test_direct_gradients_reach_every_adapter_through_a_reward_of_a_set(tmp_path: Path) -> None:
    config = TrainConfig("vendi:clap", objective="direct", steps=1, epochs=1, prompts_per_step=4, demonstration_steps=2)
    policy, judge = load_policy(), compose(config.reward)
    rows: list[dict[str, float]] = []
    train(completed(config), policy, judge, make_objective(config), prompts("train"), tmp_path, rows.append)
    assert rows[0]["gradient_norm"] > 0
    # Loss and reward are of the same clips: the loss is the negative Vendi score.
    assert rows[0]["loss"] == pytest.approx(-rows[0]["reward"], rel=1e-3)
    assert rows[0]["vendi"] == pytest.approx(rows[0]["reward"], rel=1e-6)
    assert vendi_score(torch.eye(3)) == pytest.approx(3)


@pytest.mark.parametrize("reward", ["kad:logmel@airs", "recall:logmel@airs"])
def test_demonstrations_are_chosen_by_a_distance_from_points_and_by_a_count(reward: str, tmp_path: Path) -> None:
    """What is chosen is no worse than the mean of the two sets that it is chosen of."""
    config = TrainConfig(reward, steps=1, epochs=1, prompts_per_step=6, demonstration_steps=2)
    rows: list[dict[str, float]] = []
    parts = compose(reward), make_objective(config)
    train(completed(config), load_policy(), *parts, prompts("train"), tmp_path, rows.append)
    assert rows[0]["positive_reward"] >= rows[0]["reward"]


def test_direct_takes_a_mixture_of_sets_and_a_constraint(tmp_path: Path) -> None:
    config = TrainConfig(
        "vendi:logmel + dataset-fad:chroma@airs",
        at_least=("clap-score:clap",),
        objective="direct",
        steps=2,
        prompts_per_step=4,
        demonstration_steps=2,
    )
    rows: list[dict[str, float]] = []
    parts = compose_mixture(config.reward), make_objective(config)
    train(completed(config), load_policy(), *parts, prompts("train"), tmp_path, rows.append)
    assert all(row["gradient_norm"] > 0 for row in rows)
    assert {"reward vendi:logmel", "reward dataset-fad:chroma@airs", "multiplier clap-score:clap"} <= rows[1].keys()


def test_options_are_those_of_the_objective() -> None:
    config = TrainConfig("vendi:clap", objective="raft")
    assert completed(config).options == {"samples": 4, "pilot": 0, "gradient_norms": False}
    with pytest.raises(ConfigError, match=r"options\.sample: .*it has: samples, pilot"):
        completed(replace(config, options={"sample": 2}))
