"""Constraints that each clip keeps: what breaks one ranks below all that does not, whatever its reward."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import CONFIG as TINY
from support.tiny import tiny_run, whole_and_resumed

from dragon_rewards import Clips, compose
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.protocols import RewardKind
from dragon_train.config import Constraint
from dragon_train.loop.feasible import QUANTILE, ClipConstraints, FeasibleFirst
from dragon_train.loop.shares import ALLOWED, PULL, RATE, START, ShareConstraints
from dragon_train.objectives.groups import votes
from dragon_train.registry import load_train_registry

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")

SEEDS = st.integers(0, 2**31)
LOUD, MUSIC = "per-song-fad:logmel@tunebook", "per-song-fad:chroma@airs"


@dataclass(frozen=True)
class Given:
    """A reward of numbers: of the clips 0, 1, 2 and so on it says what it was given."""

    values: torch.Tensor
    name: str = "given"
    kind: RewardKind = RewardKind.INSTANCE

    def value(self, clips: torch.Tensor) -> torch.Tensor:
        return self.values[clips]


@dataclass(frozen=True)
class Parts:
    """The parts of a mixture of such rewards, with their weights."""

    parts: tuple[Given, ...]
    weights: tuple[float, ...]


def ranked(rewards: torch.Tensor, constrained: torch.Tensor, level: float, spread: float = 1.0) -> torch.Tensor:
    """The ranks of clips by a reward under one constraint at a level."""
    aim: Any = Given(rewards)
    limit: Any = Given(constrained)
    constraints = ClipConstraints([limit])
    constraints.levels = [(level, spread)]
    clips: Any = torch.arange(len(rewards))
    return FeasibleFirst(aim, constraints).value(clips)


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rewards, constrained = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rewards, constrained


@given(seed=SEEDS)
def test_clips_that_keep_the_constraint_stand_above_all_others_and_in_the_order_of_the_reward(seed: int) -> None:
    rewards, constrained = drawn(seed)
    found, kept = ranked(rewards, constrained, 0.0), constrained >= 0
    if kept.any() and (~kept).any():
        assert found[kept].min() > found[~kept].max()
    assert torch.equal(found[kept].argsort(), rewards[kept].argsort())
    assert torch.equal(found[~kept].argsort(), constrained[~kept].argsort())  # the least violation first


@given(seed=SEEDS)
def test_where_all_keep_it_the_rank_is_the_reward_s_and_where_none_does_the_reward_does_not_count(seed: int) -> None:
    rewards, constrained = drawn(seed)
    assert torch.equal(ranked(rewards, constrained, -9.0), rewards.argsort().argsort().double())
    assert torch.equal(ranked(rewards, constrained, 9.0), ranked(-rewards, constrained, 9.0))


@given(seed=SEEDS)
def test_increasing_functions_of_the_reward_and_the_unit_of_the_violation_change_nothing(seed: int) -> None:
    rewards, constrained = drawn(seed)
    expected = ranked(rewards, constrained, 0.0)
    assert torch.equal(ranked((3 * rewards).exp(), constrained, 0.0), expected)
    assert torch.equal(ranked(rewards, 5 * constrained, 0.0, spread=5.0), expected)


@given(seed=SEEDS)
def test_the_parts_of_a_mixture_put_what_keeps_the_constraint_above_all_else_each_by_itself(seed: int) -> None:
    rewards, constrained = drawn(seed)
    other: torch.Tensor = rewards.flip(0).exp()
    aim: Any = Parts((Given(rewards), Given(other)), (0.5, -2.0))
    limit: Any = Given(constrained)
    constraints = ClipConstraints([limit])
    constraints.levels = [(0.0, 1.0)]
    clips: Any = torch.arange(len(rewards))
    found = votes(FeasibleFirst(aim, constraints), clips)
    assert torch.equal(found, torch.stack([ranked(rewards, constrained, 0.0), ranked(-other, constrained, 0.0)]))


def test_no_reward_buys_a_violation() -> None:
    """A clip of a reward without bounds, which a mixture would take at any multiplier, stays below a modest one."""
    assert ranked(torch.tensor([1e9, 0.1]), torch.tensor([-0.01, 0.01]), 0.0).tolist() == [0, 1]


def noise(loudness: float) -> Clips:
    levels = loudness * torch.linspace(0.5, 1.5, 8)[:, None]
    return Clips(levels * torch.randn(8, 16_000, generator=torch.Generator().manual_seed(0)).clamp(-4, 4) / 4, 16_000)


def test_a_quarter_of_the_untuned_clips_break_it() -> None:
    constraints = ClipConstraints([compose(LOUD)])
    constraints.begin(noise(0.5))
    assert (constraints.violations(noise(0.5)) > 0).double().mean() == QUANTILE
    assert constraints.update(noise(0.5), noise(0.5))["infeasible"] == QUANTILE
    assert (constraints.violations(noise(0.9)) > 0).double().mean() > QUANTILE


@pytest.mark.parametrize(
    ("reward", "at_least", "constraint"),
    [("vendi:logmel", MUSIC, "clip"), (LOUD, "vendi:chroma", "clip"), (LOUD, "vendi:chroma", "share")],
)
def test_rewards_of_sets_are_refused(tmp_path: Path, reward: str, at_least: str, constraint: Constraint) -> None:
    config = replace(TINY, reward=reward, at_least=(at_least,), constraint=constraint)
    with pytest.raises(ConfigError, match='judges a whole set; use constraint = "mean"'):
        tiny_run(config, tmp_path)


def test_ranks_have_no_gradient(tmp_path: Path) -> None:
    config = replace(TINY, reward=LOUD, at_least=(MUSIC,), constraint="clip", objective="direct")
    with pytest.raises(DragonError, match="ranks have no gradient"):
        tiny_run(config, tmp_path)


@pytest.mark.parametrize("objective", sorted({*load_train_registry().objectives} - {"direct"}))
def test_every_objective_that_ranks_takes_them(tmp_path: Path, objective: str) -> None:
    config = replace(TINY, reward=LOUD, at_least=(MUSIC,), constraint="clip", demonstration_steps=3)
    rows = tiny_run(replace(config, objective=objective), tmp_path)
    assert all(row["gradient_norm"] > 0 for row in rows)
    assert all(0 <= row["infeasible"] <= 1 for row in rows)
    assert {f"level {MUSIC}", f"reward {MUSIC}", f"reward {LOUD}"} <= rows[0].keys()


def test_weights_follow_the_share_that_breaks_the_constraint_and_add_up_to_1() -> None:
    constraints = ShareConstraints([compose(LOUD)])
    constraints.begin(noise(0.5))
    began = constraints.weights
    assert began == pytest.approx([1 / (1 + math.exp(START)), math.exp(START) / (1 + math.exp(START))])
    constraints.update(noise(0.5), noise(0.5))
    assert constraints.weights == began  # as many break it as of the untuned model's clips
    figures = constraints.update(noise(0.9), noise(0.5))
    assert figures[f"broken {LOUD}"] > ALLOWED
    assert constraints.weights[1] == figures[f"weight {LOUD}"] > began[1]
    assert sum(constraints.weights) == pytest.approx(1)
    for _ in range(200):
        constraints.update(noise(0.1), noise(0.5))
    assert constraints.weights[0] == pytest.approx(1, abs=1e-6)


def test_the_logit_moves_by_standard_errors_of_the_share() -> None:
    constraints = ShareConstraints([compose(LOUD)])
    constraints.begin(noise(0.5))
    broken = constraints.update(noise(0.9), noise(0.5))[f"broken {LOUD}"]
    error = math.sqrt(ALLOWED * (1 - ALLOWED) / 8)
    assert constraints.errors == pytest.approx([(broken - ALLOWED) / error])
    assert constraints.logits == pytest.approx([START + RATE * (broken - ALLOWED) / error])
    own, other = constraints.weights
    assert math.log(other / own) == pytest.approx(constraints.logits[0] + PULL * constraints.errors[0])


def test_the_parts_of_a_mixture_share_its_weight() -> None:
    constraints = ShareConstraints([compose(LOUD)])
    aim = compose_mixture("vendi:clap + 0.5 * vendi:chroma")
    own, other = constraints.weights
    assert constraints.around(aim).weights == pytest.approx((own, 0.5 * own, other))
    with pytest.raises(ValueError, match="others"):
        constraints.load({"logits": [0.0, 0.0]})


@pytest.mark.parametrize("objective", ["dpo", "direct", "nft"])
def test_shares_serve_rewards_of_sets_and_gradients(tmp_path: Path, objective: str) -> None:
    settings = replace(TINY, reward="vendi:logmel", at_least=(MUSIC,), constraint="share", objective=objective)
    rows = tiny_run(settings, tmp_path)
    assert all(row["gradient_norm"] > 0 and 0 < row[f"weight {MUSIC}"] < 1 for row in rows)


@pytest.mark.parametrize("constraint", ["clip", "share"])
def test_an_interrupted_run_resumes_to_the_same_figures(tmp_path: Path, constraint: Constraint) -> None:
    config = replace(TINY, reward=LOUD, at_least=(MUSIC,), constraint=constraint, steps=3)
    whole, resumed = whole_and_resumed(config, tmp_path)
    assert resumed == whole
