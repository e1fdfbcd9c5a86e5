"""Cluster bootstrap, effect sizes, Holm's correction and planning, held against scipy, brute force and worked cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dragon_rewards.evaluation import (
    cluster_interval,
    holm,
    prompts_for_power,
    prompts_for_width,
    rank_biserial,
    standardized_difference,
    win_rate,
)

FINITE = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
VALUES = st.lists(FINITE, min_size=4, max_size=30)


def normal(*shape: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=shape)


def test_bootstrap_of_single_values_agrees_with_scipy() -> None:
    values = normal(40)
    got = cluster_interval(values, np.arange(40))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=1).confidence_interval
    assert got.mean == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_bootstrap_of_unequal_clusters_agrees_with_scipy() -> None:
    clusters = np.repeat(np.arange(30), np.arange(30) % 4 + 1)
    values = normal(30)[clusters] + 0.1 * normal(len(clusters), seed=1)
    sums, counts = np.bincount(clusters, values), np.bincount(clusters)
    theirs = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        method="percentile",
        rng=1,
    ).confidence_interval
    got = cluster_interval(values, clusters)
    assert (got.low, got.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_clips_of_one_prompt_are_no_further_evidence() -> None:
    values = normal(20)
    once, often = cluster_interval(values, np.arange(20)), cluster_interval(np.repeat(values, 5), np.arange(100) // 5)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    naive = cluster_interval(np.repeat(values, 5), np.arange(100))
    assert naive.high - naive.low < 0.6 * (often.high - often.low)


def test_the_seed_decides() -> None:
    values = normal(20)
    assert cluster_interval(values, np.arange(20), seed=3) == cluster_interval(values, np.arange(20), seed=3)
    assert cluster_interval(values, np.arange(20), seed=3) != cluster_interval(values, np.arange(20), seed=4)


@given(VALUES)
@settings(max_examples=25, deadline=None)
def test_an_interval_lies_within_the_values(values: list[float]) -> None:
    got = cluster_interval(values, [f"prompt {index // 2}" for index in range(len(values))])
    margin = 1e-9 * max(map(abs, values))
    assert min(values) - margin <= got.low <= got.high <= max(values) + margin


def test_intervals_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 of them, not 1"):
        cluster_interval([1.0, 2.0], ["a", "a"])
    for values, clusters in (([1.0], [1, 2]), ([math.nan, 1.0], [1, 2]), ([[1.0]], [[1]])):
        with pytest.raises(ValueError, match="every finite value"):
            cluster_interval(values, clusters)


def test_standardized_difference_is_unbiased() -> None:
    """Over normal pairs its mean is the true mean over sd, where d_z is 25% too large."""
    after = 0.5 + normal(40_000, 5)
    got = np.mean([standardized_difference(np.zeros(5), row) for row in after])
    assert got == pytest.approx(0.5, abs=0.015)
    assert (after.mean(1) / after.std(1, ddof=1)).mean() > 0.6


def test_differences_without_spread() -> None:
    assert standardized_difference([0, 0, 0], [2, 2, 2]) == math.inf
    assert standardized_difference([0, 0, 0], [-2, -2, -2]) == -math.inf
    assert standardized_difference([1, 2, 3], [1, 2, 3]) == 0
    with pytest.raises(ValueError, match="at least 3 pairs, not 2"):
        standardized_difference([0, 0], [1, 2])


@given(st.lists(st.integers(-5, 5), min_size=5, max_size=30).filter(any))
@settings(max_examples=100, deadline=None)
def test_rank_biserial_agrees_with_wilcoxons_statistic(differences: list[int]) -> None:
    ranks = len(differences) * (len(differences) + 1) / 2
    result = stats.wilcoxon(  # type: ignore[call-overload]  # the stubs do not know "asymptotic"
        differences, zero_method="zsplit", alternative="greater", method="asymptotic"
    )
    expected = 2 * float(result.statistic) / ranks - 1
    assert rank_biserial([0] * len(differences), differences) == pytest.approx(expected, abs=1e-12)


@given(VALUES)
@settings(max_examples=50, deadline=None)
def test_effects_turn_with_the_sides(values: list[float]) -> None:
    other = [value * 2 - 3 for value in values]
    for effect in (rank_biserial, standardized_difference):
        assert effect(values, other) == pytest.approx(-effect(other, values), abs=1e-12)
    assert -1 <= rank_biserial(values, other) <= 1


def test_effects_of_what_does_not_pair_are_refused() -> None:
    for effect in (rank_biserial, standardized_difference):
        with pytest.raises(ValueError, match="as many values before as after"):
            effect([1.0], [1.0, 2.0])
        with pytest.raises(ValueError, match="finite"):
            effect([1.0, 2.0, 3.0], [1.0, 2.0, math.inf])


def test_holm_by_hand() -> None:
    """Holm's rule on five: 5 p1, then 4 p2, 3 p3, 2 p4, p5, none below the one before, none above 1."""
    got = holm([0.30, 0.011, 0.02, 0.005, 0.9])
    assert got.tolist() == pytest.approx([0.6, 0.044, 0.06, 0.025, 0.9])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_holm_rejects_step_down(p_values: list[float]) -> None:
    """The definition: walk up the sorted p values and stop at the first above 5% / those left."""
    ordered, rejected = sorted(p_values), 0
    while rejected < len(ordered) and (len(ordered) - rejected) * ordered[rejected] <= 0.05:
        rejected += 1
    assert int((holm(p_values) <= 0.05).sum()) == rejected


@pytest.mark.parametrize(("half_width", "rate"), [(0.05, 0.5), (0.1, 0.5), (0.08, 0.9), (0.02, 0.5)])
def test_a_planned_interval_is_as_narrow_as_wanted(half_width: float, rate: float) -> None:
    prompts = prompts_for_width(half_width, rate)
    for count, narrow in ((math.ceil(prompts * 1.02 / 10) * 10, True), (prompts * 98 // 1000 * 10, False)):
        interval = stats.binomtest(round(rate * count), count).proportion_ci(0.95, "exact")
        assert bool((interval.high - interval.low) / 2 <= half_width) is narrow


@pytest.mark.parametrize(("rate", "power"), [(0.6, 0.8), (0.75, 0.9), (0.95, 0.8)])
def test_planned_prompts_show_the_rate_as_often_as_wanted(rate: float, power: float) -> None:
    """Brute force: the probability that `win_rate` has its bound above 1/2, summed over all numbers of wins."""

    def shown(prompts: int) -> float:
        wins = [k for k in range(prompts + 1) if win_rate(k, prompts).lower > 0.5]
        return float(np.sum(stats.binom.pmf(wins, prompts, rate)))

    prompts = prompts_for_power(rate, power)
    assert shown(prompts - 1) < power
    assert all(shown(count) >= power for count in range(prompts, prompts + 15))


def test_plans_that_no_number_meets_are_refused() -> None:
    with pytest.raises(ValueError, match="between 1/2 and 1"):
        prompts_for_power(0.5)
    with pytest.raises(ValueError, match="more than 100,000 prompts to show"):
        prompts_for_power(0.501)
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        prompts_for_width(0.0)
    with pytest.raises(ValueError, match="more than 100,000 prompts"):
        prompts_for_width(1e-4)


def test_an_interval_of_20_prompts_covers_as_its_docstring_says() -> None:
    """Of normal clusters, the interval's coverage with 20 prompts lies near 92%."""
    drawn = normal(250, 20, 3, seed=2) * 0.5 + normal(250, 20, 1, seed=3)
    clusters = np.repeat(np.arange(20), 3)
    intervals = [cluster_interval(values.ravel(), clusters) for values in drawn]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.87 <= covered <= 0.97
