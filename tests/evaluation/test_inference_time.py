"""Best of N: expectations against brute force, calibration, and the transformation against a numerical derivative."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import mannwhitneyu

from dragon_rewards.evaluation import (
    best_of_n_mean,
    best_of_n_transform,
    best_of_n_win_rate,
    best_of_n_wins,
    calibrated,
)

CLIPS = st.lists(st.integers(-3, 3), min_size=2, max_size=5)  # few values, so that many tie


def best(values: list[int], n: int) -> list[int]:
    return [max(chosen) for chosen in combinations(values, n)]


@given(CLIPS, st.data())
@settings(max_examples=50, deadline=None)
def test_the_expected_best_is_that_of_all_draws(values: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values)))
    assert best_of_n_mean([values], n)[0] == pytest.approx(np.mean(best(values, n)))


@given(CLIPS, CLIPS, st.data())
@settings(max_examples=50, deadline=None)
def test_wins_are_those_of_all_pairs_of_draws(before: list[int], after: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, min(len(before), len(after))))
    pairs = list(product(best(before, n), best(after, n)))
    expected = np.mean([(new > old) + 0.5 * (new == old) for old, new in pairs])
    assert best_of_n_wins([before], [after], n)[0] == pytest.approx(expected)


@given(CLIPS)
@settings(max_examples=50, deadline=None)
def test_more_draws_are_never_worse_and_one_is_the_mean(values: list[int]) -> None:
    means = [best_of_n_mean([values], n)[0] for n in range(1, len(values) + 1)]
    assert means[0] == pytest.approx(np.mean(values))
    assert means[-1] == max(values)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(means))


def test_the_win_rate_has_an_interval_over_prompts() -> None:
    before, after = np.random.default_rng(0).normal(size=(2, 30, 6)) + np.array([0, 0.5])[:, None, None]
    got = best_of_n_win_rate(before, after, 4)
    assert got.low < got.mean < got.high
    assert got.mean == pytest.approx(best_of_n_wins(before, after, 4).mean())
    assert got == best_of_n_win_rate(before, after, 4, seed=0)


@given(CLIPS, CLIPS)
@settings(max_examples=50, deadline=None)
def test_mean_calibrated_reward_is_the_win_rate(before: list[int], after: list[int]) -> None:
    """C is the share of pairs won, the Mann-Whitney statistic over their number."""
    got = calibrated([after], [before])
    pairs = len(before) * len(after)
    assert got.mean() == pytest.approx(mannwhitneyu(after, before).statistic / pairs)
    assert got.mean() == pytest.approx(best_of_n_wins([before], [after], 1)[0])
    assert calibrated(np.exp([after]), np.exp([before])).tolist() == got.tolist()


@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_transformation_is_the_slope_of_the_win_rate(n: int) -> None:
    """Of a model that moves a share e of the reference's mass to clips at C: F(u) = (1 - e) u + e [u >= C]."""

    def win_rate(moved: float, place: float) -> float:
        def density(u: float) -> float:
            return n * u ** (n - 1) * ((1 - moved) * u + moved * (u >= place)) ** n

        return 1 - quad(density, 0, place)[0] - quad(density, place, 1)[0]

    def slope(place: float) -> float:
        return (win_rate(1e-5, place) - win_rate(-1e-5, place)) / 2e-5

    scale = n**2 / (2 * n - 1)
    transformed = best_of_n_transform([0.2, 0.6, 0.9], n)
    slopes = np.array([slope(place) for place in (0.2, 0.6, 0.9)])
    assert np.diff(slopes) == pytest.approx(scale * np.diff(transformed), rel=1e-4)


def test_impossible_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="the best of 3 takes at least that many"):
        best_of_n_mean([[1.0, 2.0]], 3)
    with pytest.raises(ValueError, match="the best of 0"):
        best_of_n_wins([[1.0]], [[1.0]], 0)
    with pytest.raises(ValueError, match=r"\(prompts, clips\)"):
        best_of_n_wins([[1.0]], [[1.0], [2.0]], 1)
    with pytest.raises(ValueError, match="finite"):
        calibrated([[np.nan]], [[1.0]])
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        best_of_n_transform([1.5], 2)
