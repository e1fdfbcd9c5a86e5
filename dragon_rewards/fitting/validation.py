"""How well a head predicts what it did not see: cross-validation, figures, and what raters agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dragon_rewards.evaluation.bootstrap import percentile_interval, resamples
from dragon_rewards.heads import Figure
from dragon_rewards.reductions.aesthetics import bandwidth_of, fit_head, gaussian_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    Values = NDArray[np.float64]
    Units = NDArray[np.int64]
    Measure = Callable[[Values, Values, Values], Values]

RIDGES = tuple(10.0**power for power in range(-3, 3))  # of a kernel whose diagonal is 1
FOLDS = 10
FEWEST_SHARED = 5  # clips or pairs that a rater and others judged, below which their agreement says nothing


def best_ridge(pooled: Tensor, ratings: Tensor, units: Units) -> float:
    """Return the ridge with the least squared error for units that are left out, each unit in turn.

    No fit is repeated: with G = K + ridge I and a = G^-1 (y - mean), what is left of a unit u is

        e_u = ((G^-1)_uu)^-1 a_u

    which is the exact error of kernel ridge regression without u, except that mean and bandwidth are of all ratings
    (Pahikkala et al., Fast n-Fold Cross-Validation for Regularized Least-Squares, 2006).

    Args:
        pooled: one embedding per clip, (clips, dim).
        ratings: (clips,).
        units: the number of the unit of each clip, (clips,).
    """
    x = pooled.double()
    kernel = gaussian_kernel(x, x, bandwidth_of(x))
    centred = ratings.double() - ratings.double().mean()
    members = [torch.from_numpy(np.flatnonzero(units == unit)) for unit in np.unique(units)]

    def error(ridge: float) -> float:
        inverse = torch.linalg.inv(kernel + ridge * torch.eye(len(x), dtype=x.dtype, device=x.device))
        a = inverse @ centred
        left = [torch.linalg.solve(inverse[own][:, own], a[own]) for own in members]
        return float(torch.cat(left).square().sum())

    return min(RIDGES, key=error)


def out_of_fold(pooled: Tensor, ratings: Tensor, units: Units, seed: int) -> Values:
    """Return for each clip what a head says that was fitted without the clips of its fold, (clips,).

    The mean of the ratings that a head was fitted to is taken off: it is the higher, the lower the ratings are that the
    fold holds, so that predictions of no value would have a negative correlation. Without it the expected covariance of
    ratings that are drawn at random is zero, as the weights of the ratings in a prediction sum to zero.

    Args:
        pooled: one embedding per clip, (clips, dim).
        ratings: (clips,).
        units: the number of the unit of each clip, (clips,); a unit is in one fold.
        seed: the seed of the folds, of which there are at most ten.
    """
    predicted = np.zeros(len(ratings))
    fold = fold_numbers(units, seed, FOLDS)
    for number in np.unique(fold):
        held = fold == number
        seen = torch.from_numpy(~held)
        if float(ratings[seen].std()):  # a head that saw equal ratings alone tells nothing apart
            head = fit_head(pooled[seen], ratings[seen], best_ridge(pooled[seen], ratings[seen], units[~held]))
            predicted[held] = (head(pooled[~seen]) - head.scale[1]).cpu().numpy()
    return predicted


def fold_numbers(units: Units, seed: int, folds: int) -> Units:
    """Return the number of the fold that each clip is in, (clips,): the units in random order, one fold after another.

    Args:
        units: the number of the unit of each clip, (clips,); a unit is in one fold.
        seed: the seed of the order.
        folds: how many there are at most; no more than units.
    """
    names, places = np.unique(units, return_inverse=True)
    numbers: Units = (np.random.default_rng(seed).permutation(len(names)) % min(folds, len(names)))[places]
    return numbers


def pearson(x: Values, y: Values, weights: Values) -> Values:
    """Return the Pearson correlation of two series, (resamples,); 0 where one of them is constant.

    Args:
        x: the first series, (clips,), or one for each resample, (resamples, clips).
        y: the second series, alike.
        weights: how often each clip counts, (resamples, clips).
    """
    total = weights.sum(1, keepdims=True)
    first, second = (z - (weights * z).sum(1, keepdims=True) / total for z in (x, y))
    norm = np.sqrt((weights * first**2).sum(1) * (weights * second**2).sum(1))
    joint = (weights * first * second).sum(1)
    return np.asarray(np.divide(joint, norm, out=np.zeros_like(norm), where=norm > 0))


def spearman(x: Values, y: Values, weights: Values) -> Values:
    """Return the Spearman correlation of two series: the Pearson correlation of ranks; arguments are as of `pearson`.

    Equal values share the mean of their ranks. With W_v the number of clips that have the value v, repeated ones
    included, these ranks have the mean

        sum_{u < v} W_u + (W_v + 1) / 2
    """
    return pearson(_ranks(x, weights), _ranks(y, weights), weights)


def _ranks(x: Values, weights: Values) -> Values:
    values, places = np.unique(x, return_inverse=True)
    counts = weights @ (places[:, None] == np.arange(len(values)))
    ranks: Values = (counts.cumsum(1) - counts + (counts + 1) / 2)[:, places]
    return ranks


def unweighted(measure: Measure, x: Values, y: Values) -> float:
    """Return a figure of two series (clips,) in which each clip counts once."""
    return float(measure(x, y, np.ones((1, len(x))))[0])


def with_interval(of: Callable[[Values], Values], units: Units) -> Figure:
    """Return a figure of out-of-fold predictions with its 95% interval, by a bootstrap that draws half of the units.

    What people said of one unit is in the predictions of the others. With p_i = sum_j w_ij y_j, the prediction of unit
    i by the answers y of the others, answers and predictions agree by

        sum_i y_i p_i = sum_{i<j} (w_ij + w_ji) y_i y_j

    and w_ij is nearly w_ji, so that each pair of units counts twice. Of random answers of variance 1, this sum has the
    variance sum_{i<j} (w_ij + w_ji)^2, nearly 2 sum_{i,j} w_ij^2. A bootstrap that takes the terms y_i p_i as
    independent finds sum_{i,j} w_ij^2, half of it. To draw half as many units doubles what it finds (m out of n:
    Bickel, Goetze and van Zwet, Resampling fewer than n observations, 1997).

    Args:
        of: maps how often each unit counts, (resamples, units), to the figure of each resample, (resamples,).
        units: the numbers of the units, from 0.
    """
    count = int(units.max()) + 1
    drawn = resamples(count, seed=0, draws=(count + 1) // 2)
    resampled = np.concatenate([of(weights.astype(float)) for weights in drawn])
    found = percentile_interval(float(of(np.ones((1, count)))[0]), resampled)
    return Figure(found.mean, found.low, found.high)


def correlation_figure(measure: Measure, predicted: Values, ratings: Values, units: Units) -> Figure:
    """Return the correlation of predictions and ratings (clips,), with its interval over units."""
    return with_interval(lambda weights: measure(predicted, ratings, weights[:, units]), units)


def same_side(x: Values, y: Values, weights: Values) -> Values:
    """Return of the pairs of which y has a sign the share of which x has the same, (resamples,).

    A pair of which x is 0 counts half; the share of no pairs is 1/2, which is chance. Arguments are as of `pearson`.
    """
    kept = weights * (y != 0)
    total = kept.sum(1)
    right = kept @ ((1 + np.sign(x) * np.sign(y)) / 2)
    return np.asarray(np.divide(right, total, out=np.full(len(total), 0.5), where=total > 0))


def log_loss(x: Values, y: Values, weights: Values) -> Values:
    """Return the mean log loss of votes y (-1/2, 0 for a tie, 1/2) under the log-odds x, in nats, (resamples,).

        log(1 + exp(x)) - (1/2 + y) x

    Of no votes it is log 2, which is chance. Arguments are as of `pearson`.
    """
    total = weights.sum(1)
    losses = np.logaddexp(0, x) - (0.5 + y) * x
    return np.asarray(np.divide(weights @ losses, total, out=np.full(len(total), np.log(2)), where=total > 0))


def vote_figure(measure: Measure, predicted: Values, leaning: Values, between: Units, units: Units) -> Figure:
    """Return a figure of predicted votes, with its interval over units.

    A pair of clips of two units counts as often as both were drawn, one by one (Snijders and Borgatti, Non-parametric
    standard errors and tests for network statistics, 1999).

    Args:
        measure: `same_side` or `log_loss`.
        predicted: the log-odds of the first clip of each pair, (pairs,).
        leaning: the votes (pairs, raters): 1/2 for the first clip, -1/2 for the second, NaN where there is none.
        between: the numbers of the units of both clips, (pairs, 2).
        units: the number of the unit of each clip, (clips,).
    """
    pairs, raters = np.nonzero(np.isfinite(leaning))
    first, second = between[pairs].T

    def of(weights: Values) -> Values:
        drawn = weights[:, first] * np.where(first == second, 1, weights[:, second])
        return measure(predicted[pairs], leaning[pairs, raters], drawn)

    return with_interval(of, units)


def agreement(given: Values, predicted: Values, measure: Measure) -> tuple[float, float] | tuple[None, None]:
    """Return how a rater, and the head in this rater's place, agrees with the mean of the other raters.

    Both are measured over what the rater and others judged, and averaged over raters.

    Args:
        given: ratings of clips, or leanings of pairs, (clips, raters); NaN where a rater did not judge.
        predicted: what the head says of what it did not see, (clips,).
        measure: `spearman` of ratings, `same_side` of leanings.

    Returns:
        The agreement of the raters and of the head; None for both where no rater shares five of them with others.
    """
    found = []
    for place, own in enumerate(given.T):
        others = np.delete(given, place, axis=1)
        both = np.isfinite(own) & np.isfinite(others).any(axis=1)
        if both.sum() >= FEWEST_SHARED:
            mean = np.nanmean(others[both], axis=1)
            found.append([unweighted(measure, series[both], mean) for series in (own, predicted)])
    if not found:
        return None, None
    rater, head = np.mean(found, axis=0)
    return float(rater), float(head)
