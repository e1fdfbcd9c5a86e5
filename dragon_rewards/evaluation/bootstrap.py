"""Intervals that take the clips of one prompt as one draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 9_999
BATCH = 500  # resamples at once: the indices of 2,000 prompts take 8 MB


@dataclass(frozen=True)
class Interval:
    """A mean and the two-sided 95% interval about it."""

    mean: float
    low: float
    high: float


def cluster_interval(values: ArrayLike, clusters: ArrayLike, seed: int = 0) -> Interval:
    """Percentile bootstrap interval of the mean of values (n,), resampling whole clusters (Efron and Tibshirani 1993).

    Clips, seeds and raters of one prompt are alike, so they are no independent trials: each of 9,999 resamples draws as
    many clusters as there are, with replacement and with all their values, and takes the mean of what it drew. The
    ends are the quantiles at 2.5% and 97.5%. With few clusters it is too narrow: of normal values it covers 88% with 10
    clusters, 92% with 20 and 94% with 100 (reports/statistics).

    Args:
        values: one per comparison, such as `paired_wins` or the votes of raters.
        clusters: (n,), the prompt of each value.
        seed: of the resamples; the same arguments give the same interval.

    Raises:
        ValueError: other counts of values and clusters, values that are not finite, or fewer than 2 clusters.

    >>> cluster_interval([1, 1, 0, 1, 0.5, 1], ["hymn", "hymn", "jig", "air", "march", "reel"]).mean
    0.75
    """
    sums, counts = _totals(np.asarray(values, float), np.asarray(clusters))
    generator, drawn = np.random.default_rng(seed), []
    for start in range(0, RESAMPLES, BATCH):
        rows = generator.integers(len(sums), size=(min(BATCH, RESAMPLES - start), len(sums)))
        drawn.append(sums[rows].sum(1) / counts[rows].sum(1))
    low, high = np.quantile(np.concatenate(drawn), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))


def _totals(values: NDArray[np.float64], clusters: NDArray[np.str_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of the values of each cluster."""
    if values.ndim != 1 or values.shape != clusters.shape or not np.isfinite(values).all():
        raise ValueError(f"every finite value takes one cluster; got {values.shape} values, {clusters.shape} clusters")
    names, places = np.unique(clusters, return_inverse=True)
    if len(names) < 2:  # noqa: PLR2004  one cluster resamples to itself
        raise ValueError(f"an interval over clusters takes at least 2 of them, not {len(names)}; add prompts")
    return np.bincount(places, values), np.bincount(places).astype(np.int64)
