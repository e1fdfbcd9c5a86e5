"""Exact statistics against scipy, the paper's Table 4, and a simulation of two identical models."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binomtest

from dragon_rewards.errors import TooFewClipsError
from dragon_rewards.evaluation import distribution_wins, instance_wins, matched_subsets, paired_wins, win_rate


@pytest.mark.parametrize(
    ("wins", "figures"),
    [(253, ("60.24%", "56.15%", "1.58e-05", "99.9987%")), (256, ("60.95%", "56.87%", "4.15e-06", "99.9997%"))],
)
def test_the_papers_table(wins: int, figures: tuple[str, ...]) -> None:
    got = win_rate(wins, 420)
    assert (f"{got.rate:.2%}", f"{got.lower:.2%}", f"{got.p_value:.2e}", f"{got.posterior:.4%}") == figures


@given(st.integers(1, 300).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
@settings(max_examples=100, deadline=None)
def test_whole_wins_agree_with_scipy(case: tuple[int, int]) -> None:
    wins, trials = case
    got, exact = win_rate(wins, trials), binomtest(wins, trials, 0.5, alternative="greater")
    assert got.rate == wins / trials
    assert math.isclose(got.p_value, exact.pvalue, rel_tol=1e-9)
    assert math.isclose(got.lower, exact.proportion_ci(0.95, "exact").low, rel_tol=1e-9, abs_tol=1e-12)
    assert math.isclose(got.posterior, beta.sf(0.5, wins + 1, trials - wins + 1), rel_tol=1e-9)


@given(st.integers(1, 100).flatmap(lambda trials: st.tuples(st.integers(0, 2 * trials - 1), st.just(trials))))
@settings(max_examples=100, deadline=None)
def test_half_a_win_more_is_more_evidence(case: tuple[int, int]) -> None:
    halves, trials = case
    less, more = win_rate(halves / 2, trials), win_rate((halves + 1) / 2, trials)
    assert less.lower <= more.lower < more.rate
    assert less.p_value >= more.p_value
    assert less.posterior <= more.posterior


@pytest.mark.parametrize(("wins", "trials"), [(-1, 3), (4, 3), (0, 0), (math.nan, 3)])
def test_impossible_counts_are_refused(wins: float, trials: int) -> None:
    with pytest.raises(ValueError, match="wins lie between"):
        win_rate(wins, trials)


def test_instance_wins_count_ties_half() -> None:
    got = instance_wins([1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 9.0])
    assert (got.rate, got.wins, got.trials) == (2.5 / 4, 2.5, 4)


def test_pairs_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="as many values"):
        paired_wins([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        paired_wins([1.0], [math.nan])


@pytest.mark.parametrize("rounds", [1, 7])
def test_distribution_wins_count_only_disjoint_subsets(rounds: int) -> None:
    before, after = [0.0] * 6 * rounds, [1.0, 1.0, 1.0, 1.0, 0.0, -1.0] * rounds
    assert distribution_wins(before, after, trials=6) == win_rate(4.5, 6)


@given(prompts=st.integers(1, 60), size=st.integers(1, 60), rounds=st.integers(1, 5), seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_each_round_partitions_the_prompts(prompts: int, size: int, rounds: int, seed: int) -> None:
    if size > prompts:
        with pytest.raises(TooFewClipsError, match=f"{prompts} prompts .* subset of {size}"):
            matched_subsets(prompts, size, rounds, seed)
        return
    rows = matched_subsets(prompts, size, rounds, seed)
    assert rows.shape == (rounds * (prompts // size), size)
    for partition in rows.reshape(rounds, -1):
        assert len(set(partition.tolist())) == prompts // size * size
        assert set(partition.tolist()) <= set(range(prompts))
    assert np.array_equal(rows, matched_subsets(prompts, size, rounds, seed))


def test_rounds_and_seeds_differ() -> None:
    rows = matched_subsets(40, 10, 2, seed=0)
    assert not np.array_equal(rows[:4], rows[4:])
    assert not np.array_equal(rows, matched_subsets(40, 10, 2, seed=1))


@pytest.mark.parametrize(("size", "rounds"), [(0, 1), (1, 0)])
def test_subsets_of_nothing_are_refused(size: int, rounds: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        matched_subsets(10, size, rounds, seed=0)


def frechet_to_standard_normal(embedded: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fréchet distance of one-dimensional subsets to N(0, 1): (prompts,), (subsets, size) -> (subsets,)."""
    chosen = embedded[rows]
    distance: NDArray[np.float64] = chosen.mean(1) ** 2 + (chosen.std(1) - 1) ** 2
    return distance


def lower_bounds(size: int, shift: float, simulations: int = 1000, prompts: int = 60) -> NDArray[np.float64]:
    """The lower bound of a model whose embeddings lie `shift` closer to the reference than its rival's."""
    generator, rows = np.random.default_rng(0), matched_subsets(prompts, size, rounds=20, seed=0)
    bounds = []
    for _ in range(simulations):
        prompt = generator.normal(size=prompts)
        before = 1 + 0.6 * prompt + 0.8 * generator.normal(size=prompts)
        after = 1 - shift + 0.6 * prompt + 0.8 * generator.normal(size=prompts)
        old, new = (-frechet_to_standard_normal(model, rows) for model in (before, after))
        bounds.append(distribution_wins(old, new, prompts // size).lower)
    return np.array(bounds)


@pytest.mark.parametrize("size", [3, 6, 12])
def test_identical_models_seldom_win(size: int) -> None:
    assert (lower_bounds(size, shift=0.0) > 0.5).mean() <= 0.05


def test_a_better_model_wins() -> None:
    assert (lower_bounds(size=6, shift=0.9, simulations=200) > 0.5).mean() > 0.9
