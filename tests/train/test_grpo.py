"""GRPO: its loss is a policy gradient in a trust region, its window moves, and its runs resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import CONFIG as TINY
from support.tiny import tiny_run, whole_and_resumed

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.config import Tuning
from dragon_train.objectives.configured import make_objective
from dragon_train.objectives.grpo import GRPO

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

CONFIG = replace(TINY, objective="grpo", demonstration_steps=4, options={"group": 3, "window": 2, "dwell": 1})


def test_the_gradient_is_the_policy_gradient_of_a_normal_step() -> None:
    """Of x = m + d z and the reward x, d E[x] / d m is 1; the loss has d times that, since the ratio is told by d."""
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    deviation, mean = 0.5, torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    reward = 0.3 + deviation * noise
    ratio = (noise * (mean - 0.3)).exp()
    GRPO().loss(ratio, reward - reward.mean()).mean().backward()
    assert mean.grad is not None
    assert -float(mean.grad) == pytest.approx(deviation, rel=0.01)


@given(advantage=st.floats(-5, 5), moved=st.floats(-0.5, 0.5), clip=st.floats(0, 0.3))
def test_a_step_pulls_no_further_than_the_clip_lets_it(advantage: float, moved: float, clip: float) -> None:
    ratio = torch.tensor([1 + moved], dtype=torch.float64, requires_grad=True)
    GRPO(clip=clip).loss(ratio, torch.tensor([advantage], dtype=torch.float64)).sum().backward()
    assert ratio.grad is not None
    beyond = advantage * moved > 0 and abs(moved) > clip + 1e-12
    assert float(ratio.grad) == pytest.approx(0.0 if beyond else -advantage) or abs(abs(moved) - clip) < 1e-9


def test_the_window_moves_toward_clean_latents_and_starts_over() -> None:
    objective = GRPO(window=2, dwell=2)
    assert [objective.window_at(step, 5).start for step in range(8)] == [0, 0, 1, 1, 2, 2, 0, 0]
    assert {objective.window_at(step, 5).stop for step in range(8)} == {2, 3, 4}  # the last step is never random


def test_a_window_of_all_steps_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"options\.window = 2: of demonstration_steps = 2 the last is never random"):
        make_objective(replace(CONFIG, demonstration_steps=2))


def test_a_window_of_all_steps_that_the_pipeline_suggests_is_refused_in_the_first_step(tmp_path: Path) -> None:
    config = replace(CONFIG, demonstration_steps=0, options={"window": 100})
    with pytest.raises(DragonError, match=r"options\.window = 100: of demonstration_steps = \d+ "):
        tiny_run(config, tmp_path)


def test_the_first_update_clips_nothing_and_later_ones_do(tmp_path: Path) -> None:
    (once,) = tiny_run(replace(CONFIG, steps=1, minibatch=100), tmp_path / "once")
    (often,) = tiny_run(replace(CONFIG, steps=1, minibatch=100, epochs=6), tmp_path / "often")
    assert once["clipped"] == 0
    assert 0 < often["clipped"] < 1


def test_a_reward_that_is_the_same_for_all_moves_no_weight(tmp_path: Path) -> None:
    """All clips of a group are one clip where hardly anything is random, and differences are within the tie width."""
    options = {**CONFIG.options, "advantage": "rank", "tie": 1e3}
    (row,) = tiny_run(replace(CONFIG, steps=1, options=options), tmp_path)
    assert row["tied"] == 1
    assert row["gradient_norm"] == 0


def test_clips_of_a_prompt_start_alike_and_part_in_the_window(tmp_path: Path) -> None:
    """With eta next to 0 the clips of a group are next to one clip, which no clip of another prompt is."""
    config = replace(CONFIG, steps=1, options={**CONFIG.options, "eta": 1e-4}, reward="per-song-fad:logmel@airs")
    (alike,) = tiny_run(config, tmp_path / "alike")
    (apart,) = tiny_run(replace(config, options={**CONFIG.options, "eta": 1.0}), tmp_path / "apart")
    assert alike["best_reward"] - alike["reward"] < 0.05 * (apart["best_reward"] - apart["reward"])


@pytest.mark.parametrize("tuning", ["lora", "all"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(CONFIG, steps=3, tuning=tuning, options={**CONFIG.options, "kl": 0.1})
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
    assert whole[0]["kl"] > 0


@pytest.mark.parametrize("rule", ["std", "group", "rank", "jury"])
def test_mixtures_with_sets_take_every_rule(rule: str, tmp_path: Path) -> None:
    options = {**CONFIG.options, "advantage": rule}
    config = replace(CONFIG, reward="vendi:clap + -0.5 * per-song-fad:logmel@airs", options=options)
    rows = tiny_run(config, tmp_path)
    assert all(row["gradient_norm"] > 0 and row["best_reward"] > row["reward"] for row in rows)
