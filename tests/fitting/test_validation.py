"""Cross-validation against refits and scipy, on ratings that follow from the embeddings and on ratings that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from dragon_rewards.fitting.validation import (
    agreement,
    best_ridge,
    correlation_figure,
    out_of_fold,
    pearson,
    spearman,
    unweighted,
)
from dragon_rewards.heads import Figure
from dragon_rewards.reductions.aesthetics import bandwidth_of, gaussian_kernel

CLIPS, DIM = 60, 32


def embeddings(seed: int) -> Tensor:
    """As encoders give them: few directions have most of the spread."""
    draw = torch.randn(CLIPS, DIM, generator=torch.Generator().manual_seed(seed))
    return 3 + draw / torch.arange(1, DIM + 1)


def refitted(x: Tensor, y: Tensor, units: np.ndarray, ridge: float) -> float:
    """The squared error of fits that left a unit out, one by one."""
    kernel, y = gaussian_kernel(x, x, bandwidth_of(x)), y - y.mean()
    total = 0.0
    for unit in np.unique(units):
        seen, held = torch.from_numpy(units != unit), torch.from_numpy(units == unit)
        a = torch.linalg.solve(kernel[seen][:, seen] + ridge * torch.eye(int(seen.sum()), dtype=x.dtype), y[seen])
        total += float((y[held] - kernel[held][:, seen] @ a).square().sum())
    return total


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_the_ridge_is_best_for_what_is_left_out(noise: float) -> None:
    """Chosen in closed form as by refitting; more noise asks for more."""
    x, units = embeddings(0).double(), np.arange(CLIPS) // 3
    y = x[:, 0] + noise * torch.randn(CLIPS, generator=torch.Generator().manual_seed(1)).double()
    errors = {ridge: refitted(x, y, units, ridge) for ridge in (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)}
    assert best_ridge(x, y, units) == pytest.approx(min(errors, key=lambda ridge: errors[ridge]))


def test_correlations_are_those_of_scipy() -> None:
    """With ties, and with clips drawn several times or not at all; tolerance 1e-12."""
    draw = np.random.default_rng(0)
    x, y, weights = draw.integers(0, 5, 40).astype(float), draw.standard_normal(40), draw.integers(0, 3, (4, 40))
    for ours, theirs in ((pearson, pearsonr), (spearman, spearmanr)):
        assert unweighted(ours, x, y) == pytest.approx(theirs(x, y).statistic, abs=1e-12)
        expected = [theirs(np.repeat(x, row), np.repeat(y, row)).statistic for row in weights]
        assert ours(x, y, weights.astype(float)) == pytest.approx(expected, abs=1e-12)
    assert unweighted(spearman, np.ones(40), y) == 0


def test_ratings_that_follow_from_embeddings_are_recovered() -> None:
    x, units = embeddings(2), np.arange(CLIPS)
    ratings = (x[:, 0] - 0.5 * x[:, 1]).double()
    predicted = out_of_fold(x, ratings, units, seed=0)
    for measure in (pearson, spearman):
        figure = correlation_figure(measure, predicted, ratings.numpy(), units)
        assert figure.value > 0.9
        assert 0.8 < figure.low <= figure.value <= figure.high <= 1


def figures_of(signal: float, seeds: range, clips: int = CLIPS, each: int = 1) -> list[Figure]:
    """SRCC of as many tables of ratings, which are `signal` times a direction of the embeddings, and chance.

    Each prompt has as many clips as `each` says; half of the variance of embeddings and of chance is the prompt's.
    """
    units, found = np.arange(clips) // each, []
    for seed in seeds:
        draw = np.random.default_rng(seed)

        def normal(draw: np.random.Generator, dim: int) -> np.ndarray:
            own = draw.standard_normal((clips, dim))
            return own if each == 1 else (own + draw.standard_normal((clips // each, dim))[units]) / np.sqrt(2)

        x = torch.from_numpy(3 + normal(draw, DIM) / np.arange(1, DIM + 1))
        ratings = signal * x[:, 0].numpy() + normal(draw, 1)[:, 0]
        predicted = out_of_fold(x, torch.from_numpy(ratings), units, seed=0)
        found.append(correlation_figure(spearman, predicted, ratings, units))
    return found


def test_random_ratings_are_not_predicted() -> None:
    figures = figures_of(0.0, range(20))
    assert sum(figure.low > 0 for figure in figures) <= 2  # 0.5 expected
    assert sum(figure.low <= 0 <= figure.high for figure in figures) >= 16
    assert abs(np.mean([figure.value for figure in figures])) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("clips", "each"), [(30, 1), (60, 1), (60, 5)])
@pytest.mark.parametrize("signal", [0.0, 0.4, 1.0])
def test_an_interval_covers_what_it_says(signal: float, clips: int, each: int) -> None:
    """The mean SRCC of heads that are fitted to so many clips, in 95% of 200 tables; 3 standard errors are 4.6%."""
    figures = figures_of(signal, range(200), clips, each)
    mean = np.mean([figure.value for figure in figures])
    covered = np.mean([figure.low <= mean <= figure.high for figure in figures])
    above = np.mean([figure.low > 0 for figure in figures])
    assert covered > 0.9
    if not signal:
        assert above < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 200)


def test_pieces_of_a_track_tell_nothing_of_each_other() -> None:
    """Pieces that embed alike and share a random rating: by clip they seem predictable, by track they do not."""
    tracks = np.arange(CLIPS) // 4
    x = embeddings(4)[tracks] + 0.01 * embeddings(5)
    ratings = torch.randn(CLIPS // 4, generator=torch.Generator().manual_seed(6)).double()[tracks]
    leaked = unweighted(spearman, out_of_fold(x, ratings, np.arange(CLIPS), 0), ratings.numpy())
    honest = unweighted(spearman, out_of_fold(x, ratings, tracks, 0), ratings.numpy())
    assert leaked > 0.9
    assert honest < 0.5


def test_a_fold_whose_other_clips_are_rated_alike_is_not_ordered() -> None:
    ratings = torch.zeros(CLIPS).double()
    ratings[7] = 1
    assert out_of_fold(embeddings(7), ratings, np.arange(CLIPS), 0)[7] == 0


def test_raters_and_the_head_agree_with_the_others() -> None:
    draw = np.random.default_rng(8)
    truth = draw.standard_normal(30)
    given = truth[:, None] + 0.8 * draw.standard_normal((30, 3))
    given[:4, 0] = np.nan
    rater, head = agreement(given, truth, spearman)
    expected = [
        spearmanr(own[both], np.nanmean(others, axis=1)[both]).statistic
        for own, others in ((given[:, at], np.delete(given, at, axis=1)) for at in range(3))
        for both in [np.isfinite(own)]
    ]
    assert rater == pytest.approx(np.mean(expected))
    assert head is not None
    assert head > np.mean(expected)
    apart = np.full((20, 2), np.nan)
    apart[:10, 0] = apart[10:, 1] = np.arange(10)
    assert agreement(apart, np.arange(20.0), spearman) == (None, None)
