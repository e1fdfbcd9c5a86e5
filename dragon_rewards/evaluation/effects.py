"""Effect sizes: how large a paired difference is, whatever its units."""

from __future__ import annotations

from math import copysign, exp, inf, lgamma, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def standardized_difference(before: ArrayLike, after: ArrayLike) -> float:
    """Return the mean of the paired differences d (n,) in units of their standard deviation.

    It is Cohen's d_z without the bias of a small n (Hedges 1981). With m = n - 1:

        J mean(d) / sd(d),    J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2))

    Differences that are all alike make it infinite, or 0 where all are 0.

    Raises:
        ValueError: the shapes differ, values are not finite, or there are fewer than 3 pairs.

    >>> round(standardized_difference([0, 0, 0, 0], [1, 2, 3, 4]), 3)
    1.401
    """
    differences = _differences(before, after)
    freedom = len(differences) - 1
    if freedom < 2:  # noqa: PLR2004  J has a pole at 1
        raise ValueError(f"a standardized difference takes at least 3 pairs, not {len(differences)}")
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if not deviation:
        return copysign(inf, mean) if mean else 0.0
    unbiased = exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2)) / sqrt(freedom / 2)
    return unbiased * mean / deviation


def rank_biserial(before: ArrayLike, after: ArrayLike) -> float:
    """Return the matched-pairs rank-biserial correlation, from -1 to 1 (Kerby 2014).

    With the rank R_i of |after_i - before_i| among all pairs:

        sum_i sign(after_i - before_i) R_i / sum_i R_i

    1: every pair is higher after; 0: as much for as against. Equal sizes share their mean rank, and a tie of before and
    after is ranked, too, and counts half for each (Pratt 1959).

    Raises:
        ValueError: the shapes differ, values are not finite, or there are no pairs.

    >>> round(rank_biserial([0, 0, 0, 0], [1, 2, 3, -4]), 3)
    0.2
    """
    differences = _differences(before, after)
    ranks = rankdata(np.abs(differences))
    return float((np.sign(differences) * ranks).sum() / ranks.sum())


def _differences(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    old, new = np.asarray(before, float), np.asarray(after, float)
    if old.shape != new.shape or old.ndim != 1 or not old.size:
        raise ValueError(f"pairs need as many values before as after, at least 1; got {old.shape} and {new.shape}")
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        raise ValueError("values to compare must be finite; drop or score again the clips without one")
    differences: NDArray[np.float64] = new - old
    return differences
