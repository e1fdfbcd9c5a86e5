"""Length, loudness and silence: what a reward may follow instead of what it is named for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon_rewards.evaluation.bootstrap import Interval, cluster_places, percentile_interval, resamples
from dragon_rewards.evaluation.win_rates import signs_as_wins

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-9  # relative: what is left of differences that the confounders explain to the last digit


def controlled_win_rate(
    before: ArrayLike, after: ArrayLike, confounders: ArrayLike, clusters: ArrayLike, seed: int = 0
) -> Interval | None:
    """Return the win rate that is left once the part of a reward's gain is removed that goes with its confounders.

    The paired differences d of the rewards are fitted by the differences X of the confounders, with least squares:

        d = a + X b + e

    A pair wins where a + e = d - X b is positive: what its difference would be had the confounders not changed; a tie
    counts half. Where they did not change, it is the plain win rate; for a reward that is a confounder and nothing else
    it is 1/2. The length-controlled win rate of Dubois et al., arXiv 2404.04475, does this for wins, by logistic
    regression. The interval is made as in `cluster_interval`, with b fitted to each resample.

    It assumes that the reward follows the confounders linearly, equally for all prompts, and that what the tuning
    changed else does not go with them. It extrapolates to no change, and the interval is wide where all pairs changed
    by nearly the same.

    Args:
        before: the rewards of one model, (n,).
        after: the rewards of the other model on the same prompts, (n,).
        confounders: (n, k), each pair's difference, after less before: seconds, decibels, share of silence.
        clusters: (n,), the prompt of each pair.
        seed: the seed of the resamples.

    Returns:
        The rate and its 95% interval. None where it cannot be told: a confounder changed by one and the same in all
        pairs, or there are not more clusters than confounders and the intercept.

    Raises:
        ValueError: the shapes do not fit, or values are not finite.

    >>> louder = np.array([3.0, 1.0, 2.0, 4.0, 2.5])
    >>> controlled_win_rate(np.zeros(5), 0.1 * louder, louder[:, None], range(5)).mean
    0.5
    """
    gains, changes = _checked(before, after, confounders)
    largest = np.abs(changes).max(0)
    alike = (np.ptp(changes, 0) <= ROUNDING * largest) & (largest > 0)
    if alike.any() or len(np.unique(np.asarray(clusters))) <= changes.shape[1] + 1:
        return None
    places = cluster_places(clusters)
    changes /= np.where(largest > 0, largest, 1)
    (rate,) = _rates(gains, changes, np.ones((1, len(gains))))
    drawn = [_rates(gains, changes, row[:, places]) for row in resamples(places.max() + 1, seed)]
    return percentile_interval(float(rate), np.concatenate(drawn))


def _rates(gains: NDArray[np.float64], changes: NDArray[np.float64], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return controlled win rates (resamples,), with the pairs weighted by each row of weights (resamples, n)."""
    shares = weights / weights.sum(1, keepdims=True)
    mean_change, mean_gain = shares @ changes, shares @ gains
    squares = shares @ (changes[:, :, None] * changes[:, None]).reshape(len(gains), -1)
    outer = mean_change[:, :, None] * mean_change[:, None]
    covariance = squares.reshape(outer.shape) - outer
    common = shares @ (changes * gains[:, None]) - mean_change * mean_gain[:, None]
    slopes = np.linalg.pinv(covariance, rcond=ROUNDING, hermitian=True) @ common[:, :, None]
    left = gains - slopes[:, :, 0] @ changes.T
    left[np.abs(left) <= ROUNDING * np.abs(gains).max()] = 0
    wins: NDArray[np.float64] = (weights * signs_as_wins(left)).sum(1) / weights.sum(1)
    return wins


def _checked(
    before: ArrayLike, after: ArrayLike, confounders: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    old, new, changes = (np.asarray(values, float) for values in (before, after, confounders))
    if old.ndim != 1 or old.shape != new.shape or changes.shape[:-1] != old.shape or not old.size:
        raise ValueError(
            f"rewards (n,) before and after and confounders (n, k); got {old.shape}, {new.shape}, {changes.shape}"
        )
    if not all(np.isfinite(values).all() for values in (old, new, changes)):
        raise ValueError("rewards and confounders must be finite; drop or score again the clips without them")
    return new - old, changes.copy()
