"""How well a head predicts ratings that it did not see: cross-validation, correlations, and what raters agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dragon_rewards.evaluation.bootstrap import cluster_places, percentile_interval, resamples
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
FEWEST_SHARED = 5  # clips that a rater and others rated, below which a correlation of theirs says nothing


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
    for held in _folds(units, seed):
        seen = torch.from_numpy(~held)
        if float(ratings[seen].std()):  # a head that saw equal ratings alone tells nothing apart
            head = fit_head(pooled[seen], ratings[seen], best_ridge(pooled[seen], ratings[seen], units[~held]))
            predicted[held] = (head(pooled[~seen]) - head.scale[1]).cpu().numpy()
    return predicted


def _folds(units: Units, seed: int) -> list[NDArray[np.bool_]]:
    names, places = np.unique(units, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(names)) % min(FOLDS, len(names))
    return [fold[places] == number for number in range(min(FOLDS, len(names)))]


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


def correlation(measure: Measure, x: Values, y: Values) -> float:
    """Return a correlation of two series (clips,) as they are."""
    return float(measure(x, y, np.ones((1, len(x))))[0])


def with_interval(measure: Measure, predicted: Values, ratings: Values, units: Units) -> Figure:
    """Return a correlation of predictions and ratings (clips,), with its bootstrap interval, which resamples units.

    The predictions are taken as they are: how much they would vary with the clips that heads are fitted to is not in
    the interval.
    """
    places = cluster_places(units)
    drawn = (batch[:, places].astype(float) for batch in resamples(int(places.max()) + 1, seed=0))
    resampled = np.concatenate([measure(predicted, ratings, weights) for weights in drawn])
    found = percentile_interval(correlation(measure, predicted, ratings), resampled)
    return Figure(found.mean, found.low, found.high)


def agreement(given: Values, predicted: Values) -> tuple[float, float] | tuple[None, None]:
    """Return how a rater, and the head in this rater's place, agrees with the mean of the other raters.

    Both are Spearman correlations over the clips that the rater and others rated, averaged over raters.

    Args:
        given: ratings (clips, raters), NaN where a rater did not rate a clip.
        predicted: what the head says of clips that it did not see, (clips,).

    Returns:
        The correlation of the raters and of the head; None for both where no rater shares five clips with others.
    """
    found = []
    for place, own in enumerate(given.T):
        others = np.delete(given, place, axis=1)
        both = np.isfinite(own) & np.isfinite(others).any(axis=1)
        if both.sum() >= FEWEST_SHARED:
            mean = np.nanmean(others[both], axis=1)
            found.append([correlation(spearman, series[both], mean) for series in (own, predicted)])
    if not found:
        return None, None
    rater, head = np.mean(found, axis=0)
    return float(rater), float(head)
