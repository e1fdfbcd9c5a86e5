"""Bradley-Terry heads against scikit-learn, and their cross-validation, which learns of neither clip of a pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from dragon_rewards.fitting.bradley_terry import (
    Votes,
    best_ridge,
    fit_coefficients,
    fit_preferences_head,
    held_out_differences,
    kernel_of,
)
from dragon_rewards.fitting.validation import log_loss, same_side, unweighted, vote_figure
from dragon_rewards.heads import Figure

DIM = 32


def embeddings(seed: int, clips: int) -> Tensor:
    """As encoders give them: few directions have most of the spread."""
    return torch.from_numpy(3 + np.random.default_rng(seed).standard_normal((clips, DIM)) / np.arange(1, DIM + 1))


def votes(pairs: np.ndarray, wins: np.ndarray, each: int = 1) -> Votes:
    counts = torch.full((len(pairs),), float(each), dtype=torch.float64)
    return Votes(torch.from_numpy(pairs), counts, torch.from_numpy(wins).double())


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_coefficients_are_those_of_scikit_learn(ridge: float) -> None:
    """Logistic regression without intercept on differences of features whose products are the kernel; 1e-4 of 1.

    Each pair has three votes, and some are ties, which scikit-learn gets as half a vote for each side.
    """
    linear = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    pairs = np.array(list(combinations(range(12), 2)))
    given = draw.integers(0, 7, len(pairs)) / 2  # of three votes
    kernel = kernel_of(embeddings(0, 12))
    ratings = kernel @ fit_coefficients(kernel, votes(pairs, given, 3), ridge)
    features = torch.linalg.cholesky(kernel + 1e-12 * torch.eye(12)).numpy()
    differences = features[pairs[:, 0]] - features[pairs[:, 1]]
    model = linear.LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=10_000)
    answers = np.repeat([1, 0], len(pairs))
    model.fit(np.vstack([differences, differences]), answers, sample_weight=np.concatenate([given, 3 - given]))
    expected = features @ model.coef_[0]
    assert (ratings - ratings.mean()).tolist() == pytest.approx((expected - expected.mean()).tolist(), abs=1e-4)


def test_a_head_says_the_log_odds_of_its_clips() -> None:
    x, pairs = embeddings(1, 20), np.arange(20).reshape(10, 2)
    said = votes(pairs, np.arange(10) % 2)
    kernel = kernel_of(x)
    ratings = kernel @ fit_coefficients(kernel, said, 1.0)
    assert fit_preferences_head(x, said, 1.0)(x).tolist() == pytest.approx(ratings.tolist(), abs=1e-5)


def test_votes_that_agree_in_full_have_a_finite_fit() -> None:
    """Separable votes under the least ridge, where a whole step of Newton's method overshoots."""
    x, pairs = embeddings(2, 40), np.arange(40).reshape(20, 2)
    wins = (x[pairs[:, 0], 0] > x[pairs[:, 1], 0]).numpy().astype(float)
    said, kernel = votes(pairs, wins, 100), kernel_of(x)
    a = fit_coefficients(kernel, said, 0.01).requires_grad_()
    ratings = kernel @ a
    loss = said.losses(said.differences(ratings)).sum() + 0.01 / 2 * a @ ratings
    (gradient,) = torch.autograd.grad(loss, a)
    assert float(gradient.abs().max()) < 1e-6


def test_a_pair_is_predicted_without_either_of_its_clips() -> None:
    """Every vote that names a clip of the pair is turned, and the prediction stays; in a round robin of all clips."""
    kernel, units = kernel_of(embeddings(3, 10)), np.arange(10)
    pairs = np.array(list(combinations(range(10), 2)))
    wins = np.random.default_rng(1).integers(0, 2, len(pairs)).astype(float)
    before = held_out_differences(kernel, votes(pairs, wins), units, 0)
    for place in (0, 17, 44):
        touched = np.isin(pairs, pairs[place]).any(1)
        after = held_out_differences(kernel, votes(pairs, np.where(touched, 1 - wins, wins)), units, 0)
        assert after[place] == before[place]
        assert not torch.equal(after, before)


def test_the_ridge_is_best_for_what_is_left_out() -> None:
    """Votes that follow from the embeddings ask for less of it than random votes do."""
    x, pairs = embeddings(4, 80), np.arange(80).reshape(40, 2)
    clear = (x[pairs[:, 0], 0] > x[pairs[:, 1], 0]).numpy().astype(float)
    noise = np.random.default_rng(2).integers(0, 2, 40).astype(float)
    units = np.arange(80) // 2
    strengths = [best_ridge(kernel_of(x), votes(pairs, wins), units) for wins in (clear, noise)]
    assert strengths[0] < strengths[1]


def test_figures_of_votes_are_as_by_hand() -> None:
    log_odds, leaning = np.array([1.0, -1.0, 0.0, 2.0]), np.array([0.5, 0.5, -0.5, 0.0])
    assert unweighted(same_side, log_odds, leaning) == pytest.approx(1.5 / 3)  # the tie does not count
    losses = [np.log1p(np.exp(-1)), np.log1p(np.exp(1)), np.log(2), np.log1p(np.exp(2)) - 1]
    assert unweighted(log_loss, log_odds, leaning) == pytest.approx(np.mean(losses))
    none = np.zeros((1, 4))
    assert same_side(log_odds, leaning, none).tolist() == [0.5]
    assert log_loss(log_odds, leaning, none).tolist() == [np.log(2)]


def accuracies(signal: float, seeds: range, *, robin: bool) -> list[Figure]:
    """The accuracy for as many tables of 40 pairs of clips, or of all pairs of 12 clips."""
    found = []
    for seed in seeds:
        draw = np.random.default_rng(seed)
        pairs = np.array(list(combinations(range(12), 2))) if robin else np.arange(80).reshape(40, 2)
        units = np.arange(12) if robin else np.arange(80) // 2
        x = embeddings(seed, len(units))
        worth = signal * x[:, 0].numpy() + draw.standard_normal(len(units))
        wins = (worth[pairs[:, 0]] > worth[pairs[:, 1]]).astype(float)
        predicted = held_out_differences(kernel_of(x), votes(pairs, wins), units, 0).numpy()
        found.append(vote_figure(same_side, predicted, wins[:, None] - 0.5, units[pairs], units))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("robin", [False, True], ids=["apart", "round robin"])
def test_random_preferences_are_not_predicted(robin: bool) -> None:
    """The interval lies above one half for 2.5% of 100 tables; 3 standard errors are 4.7%."""
    figures = accuracies(0.0, range(100), robin=robin)
    assert np.mean([figure.low > 0.5 for figure in figures]) < 0.072
    assert np.mean([figure.low <= 0.5 <= figure.high for figure in figures]) > 0.88


@pytest.mark.slow
def test_preferences_that_follow_from_embeddings_are_predicted() -> None:
    figures = accuracies(2.0, range(20), robin=False)
    assert np.mean([figure.value for figure in figures]) > 0.7
    assert np.mean([figure.low > 0.5 for figure in figures]) > 0.6
