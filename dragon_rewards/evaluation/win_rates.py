"""Win rates of one model against another, with exact statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, betaincinv

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05


@dataclass(frozen=True)
class WinRate:
    """How often one model beats another, and how surely.

    Attributes:
        rate: wins / trials.
        lower: one-sided 95% Clopper-Pearson lower bound of the rate.
        p_value: one-sided exact binomial probability of as many wins or more at a true rate of 1/2.
        posterior: P(true rate > 1/2) under a uniform prior.
        wins: a tie counts half, so this may be fractional.
        trials: independent trials.
    """

    rate: float
    lower: float
    p_value: float
    posterior: float
    wins: float
    trials: int


def win_rate(wins: float, trials: int) -> WinRate:
    """Return the exact one-sided statistics of `wins` out of `trials` (DRAGON, arXiv 2504.15217, Table 4).

    With k wins, n trials and I the regularised incomplete beta function (lower: Clopper and Pearson 1934):

        I_lower(k, n - k + 1) = 0.05
        p = I_1/2(k, n - k + 1)
        posterior = I_1/2(n - k + 1, k + 1)

    For whole k these are the binomial tail and its inverse; for the fractional k that half-won ties leave, the same
    functions interpolate.

    Args:
        wins: k, where a tie counts half.
        trials: n, independent trials, at least 1.

    Raises:
        ValueError: there are no trials, or the wins are outside [0, trials].

    >>> result = win_rate(253, 420)
    >>> f"{result.rate:.2%} {result.lower:.2%} {result.p_value:.2e} {result.posterior:.4%}"
    '60.24% 56.15% 1.58e-05 99.9987%'
    """
    if trials < 1 or not 0 <= wins <= trials:
        raise ValueError(f"wins lie between 0 and the number of trials, at least 1; got {wins} of {trials}")
    losses = trials - wins
    return WinRate(
        rate=float(wins / trials),
        lower=float(betaincinv(wins, losses + 1, LEVEL)) if wins else 0.0,
        p_value=float(betainc(wins, losses + 1, 0.5)) if wins else 1.0,
        posterior=float(betainc(losses + 1, wins + 1, 0.5)),
        wins=float(wins),
        trials=trials,
    )


def paired_wins(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """Return, per pair of rewards (n,), 1 where `after` is higher, 1/2 where both are equal, else 0.

    Raises:
        ValueError: the shapes differ, or values are not finite.

    >>> paired_wins([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    array([1. , 0.5, 0. ])
    """
    old, new = np.asarray(before, float), np.asarray(after, float)
    if old.shape != new.shape:
        raise ValueError(f"pairs need as many values before as after; got {old.shape} and {new.shape}")
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        raise ValueError("rewards to compare must be finite; drop or score again the clips without one")
    return signs_as_wins(new - old)


def signs_as_wins(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 where a difference (n,) is positive, 1/2 where it is 0, else 0."""
    wins: NDArray[np.float64] = (np.sign(differences) + 1) / 2
    return wins


def instance_wins(before: ArrayLike, after: ArrayLike) -> WinRate:
    """Compare two models clip by clip, at the same prompt and seed: n independent trials.

    Args:
        before: the rewards of one model's clips, (n,).
        after: the rewards of the other model's clips, (n,), whose wins count.

    Raises:
        ValueError: the shapes differ, values are not finite, or there are none.

    >>> instance_wins([0.0, 0.0, 0.0], [1.0, 1.0, -1.0]).rate
    0.6666666666666666
    """
    wins = paired_wins(before, after)
    return win_rate(float(wins.sum()), wins.size)


def distribution_wins(before: ArrayLike, after: ArrayLike, trials: int) -> WinRate:
    """Compare two models subset by subset, by the rewards of the same `matched_subsets`.

    The rate averages over the subsets of all rounds. The interval counts only `trials` = prompts // size independent
    trials, the disjoint subsets of one round, with the wins scaled to them: subsets of different rounds share clips, so
    further rounds steady the rate but add no independent evidence. Fewer than 5 disjoint subsets can never show a rate
    above 1/2 at this level (0.05^(1/4) < 1/2).

    Args:
        before: the rewards of one model's subsets, (subsets,).
        after: the rewards of the other model's subsets, (subsets,), whose wins count.
        trials: the disjoint subsets of one round.

    Raises:
        ValueError: the shapes differ, values are not finite, or there are no trials.

    >>> distribution_wins([0.0] * 20, [1.0] * 20, trials=5).lower > 0.5
    True
    """
    wins = paired_wins(before, after)
    return win_rate(float(wins.mean()) * trials, trials)
