"""How much better a clip is than its group: four rules, and what none of them may depend on."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dragon_train.objective_options import Advantage
from dragon_train.objectives.advantages import LARGEST, advantages, win_rates

RULES: tuple[Advantage, ...] = get_args(Advantage)
SEEDS = st.integers(0, 2**31)


def drawn(seed: int, rewards: int = 1, prompts: int = 5, group: int = 6) -> torch.Tensor:
    return torch.randn(rewards, prompts, group, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rule", RULES)
@given(seed=SEEDS, scale=st.floats(1e-6, 1e6), shift=st.floats(-100, 100))
def test_the_unit_of_a_reward_does_not_matter(rule: Advantage, seed: int, scale: float, shift: float) -> None:
    rewards = drawn(seed)
    assert torch.allclose(advantages(rewards * scale + shift * scale, rule), advantages(rewards, rule), atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
@given(seed=SEEDS, rewards=st.integers(1, 3))
def test_advantages_of_a_group_sum_to_nothing_and_follow_the_order(rule: Advantage, seed: int, rewards: int) -> None:
    values = drawn(seed, rewards)
    found = advantages(values, rule)
    assert found.shape == (5, 6)
    assert found.abs().max() <= LARGEST
    assert torch.allclose(found.sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-9)
    if rule != "jury":
        order = values.sum(0).argsort(1)
        assert (found.gather(1, order).diff() >= -1e-12).all()


@pytest.mark.parametrize("rule", RULES)
def test_a_reward_that_is_the_same_for_all_gives_none(rule: Advantage) -> None:
    assert advantages(torch.full((2, 3, 4), 0.7), rule).abs().max() == 0


@given(seed=SEEDS)
def test_ranks_do_not_see_how_large_a_difference_is(seed: int) -> None:
    rewards = drawn(seed)
    assert torch.equal(advantages(rewards.exp(), "rank", tie=0), advantages(rewards, "rank", tie=0))


@pytest.mark.parametrize("group", [2, 3, 8, 24])
def test_win_rates_without_ties_spread_as_ranks_do(group: int) -> None:
    """The deviation of ranks 0 to G - 1 over G - 1, whatever the judge says: sqrt((G + 1) / (12 (G - 1)))."""
    spread = win_rates(drawn(3, group=group), 0.0).std(-1, correction=0)
    assert spread.flatten().tolist() == pytest.approx([math.sqrt((group + 1) / (12 * (group - 1)))] * 5)


def test_tiny_differences_are_blown_up_by_ranks_without_a_tie_width_only() -> None:
    """Four prompts tell clips apart, the fifth by a ten-thousandth of that (Pref-GRPO's illusory advantage)."""
    rewards = drawn(0)
    rewards[:, -1] *= 1e-4
    largest = {rule: float(advantages(rewards, rule)[-1].abs().max()) for rule in ("std", "group", "rank")}
    assert largest["std"] < 1e-3
    assert largest["group"] > 0.5  # a deviation of its own; what is a hundred times less counts as noise
    assert largest["rank"] == 0
    assert advantages(rewards, "rank", tie=0)[-1].abs().max() > 1
    assert advantages(rewards * torch.tensor([1, 1, 1, 1, 1e-3])[:, None], "group")[-1].abs().max() < 0.01


def test_a_jury_of_one_ranks_and_every_juror_has_one_vote() -> None:
    rewards = drawn(1, rewards=3)
    assert torch.equal(advantages(rewards[:1], "jury"), advantages(rewards[:1], "rank"))
    louder = rewards * torch.tensor([1.0, 1e3, 1e-3])[:, None, None]
    assert torch.allclose(advantages(louder, "jury"), advantages(rewards, "jury"), atol=1e-9)
    assert not torch.allclose(advantages(louder, "rank"), advantages(rewards, "rank"), atol=0.1)


def test_a_jury_may_go_round_in_circles() -> None:
    """Rock, paper, scissors: every clip is first, second and last of one juror, and none is better."""
    rewards = torch.tensor([[[3.0, 2.0, 1.0]], [[1.0, 3.0, 2.0]], [[2.0, 1.0, 3.0]]])
    assert advantages(rewards, "jury").abs().max() == 0
