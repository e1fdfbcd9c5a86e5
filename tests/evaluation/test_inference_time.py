"""Best of N: expectations against brute force, calibration, and the transformation against a numerical derivative."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom, mannwhitneyu

from dragon_rewards.evaluation import (
    best_of_n_mean,
    best_of_n_transform,
    best_of_n_win_rate,
    best_of_n_wins,
    calibrated,
    worst_of_n_transform,
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


STANDINGS = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(STANDINGS, STANDINGS, st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_transformation_of_a_model_is_the_integral(shares: list[float], policy: list[float], n: int) -> None:
    steps = sorted({*policy, 0.0, 1.0})

    def density(u: float) -> float:
        return u ** (n - 1) * float(np.mean(np.array(policy) <= u)) ** (n - 1)

    def integral(share: float) -> float:
        ends = [min(share, step) for step in steps]
        return sum(quad(density, low, high)[0] for low, high in pairwise(ends) if high > low)

    expected = [(2 * n - 1) * integral(share) for share in shares]
    assert best_of_n_transform(shares, n, policy) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_of_the_reference_model_s_own_clips_it_is_the_first_iterate(n: int) -> None:
    """Ten thousand clips at even standings: F(u) = u to a ten-thousandth."""
    shares, even = np.linspace(0, 1, 9), (np.arange(10_000) + 0.5) / 10_000
    assert best_of_n_transform(shares, n, even) == pytest.approx(best_of_n_transform(shares, n), abs=2e-3)


@given(STANDINGS, STANDINGS, st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_worst_of_n_mirrors_the_best(shares: list[float], policy: list[float], n: int) -> None:
    mirrored = -best_of_n_transform([1 - share for share in shares], n, [1 - share for share in policy])
    assert worst_of_n_transform(shares, n, policy) == pytest.approx(mirrored)
    ordered = worst_of_n_transform(sorted(shares), n, policy)
    assert (np.diff(ordered) >= -1e-12).all()


GRID = (np.arange(1000) + 0.5) / 1000  # standings of the reference model's clips, which are uniform


def tilted(rewards: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """The density exp(strength reward) of a model on the grid, and its KL divergence from the reference in nats."""
    density = np.exp(strength * (rewards - rewards.max()))
    density /= density.mean()
    return density, float((density * np.log(density + 1e-300)).mean())


def at_divergence(rewards: np.ndarray, divergence: float) -> np.ndarray:
    """The density of a model that maximises rewards at a KL divergence, by bisection of the strength."""
    low, high = 0.0, 1e4
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if tilted(rewards, middle)[1] > divergence else (middle, high)
    return tilted(rewards, low)[0]


def best_of_n_rate(density: np.ndarray, n: int) -> float:
    """W of a model with this density of standings."""
    return float(1 - (n * GRID ** (n - 1) * (density.cumsum() / len(GRID)) ** n).mean())


@pytest.mark.parametrize(
    ("n", "divergence", "rate"), [(2, 0.5, 0.816), (4, 0.5, 0.873), (4, 1.0, 0.941), (8, 0.5, 0.930)]
)
def test_the_fixed_point_wins_most_at_equal_divergence(n: int, divergence: float, rate: float) -> None:
    """Its transformation is taken of the model that maximises it, again and again; the others are guesses."""
    density = np.ones_like(GRID)
    for _ in range(25):
        policy = np.interp((np.arange(1000) + 0.5) / 1000, density.cumsum() / len(GRID), GRID)
        fresh = at_divergence(best_of_n_transform(GRID, n, policy), divergence)
        density = 0.5 * density + 0.5 * fresh
    found = best_of_n_rate(at_divergence(best_of_n_transform(GRID, n, policy), divergence), n)
    assert found == pytest.approx(rate, abs=0.005)  # on a grid of thousandths
    guesses = [GRID, GRID ** (2 * n - 1), np.exp(5 * GRID), np.exp(10 * GRID), np.log(GRID)]
    assert all(found > best_of_n_rate(at_divergence(guess, divergence), n) - 1e-3 for guess in guesses)


@pytest.mark.parametrize(("n", "divergence", "rate"), [(4, 0.5, 0.861), (8, 0.5, 0.910), (8, 1.0, 0.954)])
def test_standings_among_2n_clips_keep_most_of_what_the_fixed_point_wins(
    n: int, divergence: float, rate: float
) -> None:
    """A clip at u beats k of m clips with the binomial's probability, and its credit is Phi_F(k / m) on average."""

    def tuned(m: int, *, follow: bool) -> float:
        chance, density = binom.pmf(np.arange(m + 1)[:, None], m, GRID), np.ones_like(GRID)
        for _ in range(20):
            shares = (chance * density).mean(1)
            policy = np.repeat(np.arange(m + 1) / m, np.round(4000 * shares / shares.sum()).astype(int))
            credit = best_of_n_transform(np.arange(m + 1) / m, n, policy if follow else None) @ chance
            density = 0.5 * density + 0.5 * at_divergence(credit, divergence)
        return best_of_n_rate(at_divergence(credit, divergence), n)

    assert tuned(2 * n, follow=True) == pytest.approx(rate, abs=0.002)
    assert tuned(2 * n, follow=True) > tuned(2 * n, follow=False) + 0.003  # of the first iterate
    assert tuned(2 * n, follow=True) > best_of_n_rate(at_divergence(GRID, divergence), n) + 0.05
    assert tuned(n, follow=True) < tuned(2 * n, follow=True) < tuned(4 * n, follow=True)


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
    with pytest.raises(ValueError, match="at least one of its clips"):
        best_of_n_transform([0.5], 2, [])
