"""The controlled win rate: what is left of a gain that is louder, longer or less silent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dragon_rewards.evaluation import controlled_win_rate, instance_wins

PAIRS = 200
PROMPTS = range(PAIRS)


def draws(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(0, 10**6), st.floats(-6, 6), st.floats(0.1, 3))
@settings(max_examples=10, deadline=None)
def test_a_reward_that_is_loudness_gains_nothing(seed: int, louder: float, spread: float) -> None:
    before = draws(seed).normal(-20, 3, PAIRS)
    change = draws(seed + 1).normal(louder, spread, PAIRS)
    got = controlled_win_rate(before, before + change, change[:, None], PROMPTS)
    assert got is not None
    assert got.mean == 0.5


def test_a_noisy_reward_of_loudness_gains_little() -> None:
    change = draws(0).normal(3, 1.5, PAIRS)
    after = 0.2 * change + draws(1).normal(0, 0.3, PAIRS)
    got = controlled_win_rate(np.zeros(PAIRS), after, change[:, None], PROMPTS)
    assert got is not None
    assert instance_wins(np.zeros(PAIRS), after).rate > 0.9
    assert got.low < 0.5 < got.high
    assert got.high - got.low > 0.2  # far from no change, b's own error counts


@given(st.integers(0, 10**6), st.floats(-0.5, 0.5))
@settings(max_examples=10, deadline=None)
def test_what_did_not_change_controls_nothing(seed: int, gain: float) -> None:
    before, after = draws(seed).normal(size=(2, PAIRS)) + np.array([[0], [gain]])
    got = controlled_win_rate(before, after, np.zeros((PAIRS, 3)), PROMPTS)
    assert got is not None
    plain = instance_wins(before, after)
    assert got.mean == pytest.approx(plain.rate, abs=1e-12)
    assert got.low == pytest.approx(stats.binom.ppf(0.025, PAIRS, plain.rate) / PAIRS, abs=0.015)


def test_a_gain_of_its_own_stays() -> None:
    """Half of the gain goes with loudness, half with nothing."""
    change = draws(0).normal(2, 1, PAIRS)
    after = 0.5 * change + 1 + draws(1).normal(0, 0.5, PAIRS)
    got = controlled_win_rate(np.zeros(PAIRS), after, np.stack([change, np.zeros(PAIRS)], 1), PROMPTS)
    assert got is not None
    assert got.low > 0.85


@given(st.integers(0, 10**6), st.floats(0.01, 100))
@settings(max_examples=10, deadline=None)
def test_units_do_not_matter(seed: int, unit: float) -> None:
    before, after, change = draws(seed).normal(size=(3, 50))
    first, scaled = (controlled_win_rate(before, after, factor * change[:, None], range(50)) for factor in (1, unit))
    assert first is not None
    assert first == scaled


def test_a_change_that_is_alike_everywhere_cannot_be_told_from_a_gain() -> None:
    before, after = draws(0).normal(size=(2, PAIRS))
    assert controlled_win_rate(before, after, np.full((PAIRS, 1), 3.0), PROMPTS) is None
    assert controlled_win_rate(before[:3], after[:3], draws(1).normal(size=(3, 2)), range(3)) is None


def test_what_does_not_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rewards \(n,\) before and after and confounders \(n, k\)"):
        controlled_win_rate([1.0], [1.0], [[1.0], [2.0]], [0])
    with pytest.raises(ValueError, match="finite"):
        controlled_win_rate([1.0, 2.0], [1.0, 2.0], [[-np.inf], [2.0]], [0, 1])
