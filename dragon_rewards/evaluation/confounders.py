"""Length, loudness and silence: what a reward may follow instead of what it is named for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon_rewards.evaluation.win_rates import WinRate, signs_as_wins, win_rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-9  # relative: what is left of differences that the confounders explain to the last digit


def controlled_win_rate(before: ArrayLike, after: ArrayLike, confounders: ArrayLike) -> WinRate | None:
    """The win rate that is left once the part of a reward's gain is removed that goes with its confounders.

    The paired differences of the rewards, d, are fitted by those of the confounders, X, with least squares: d = a +
    X b + e. A pair wins where a + e = d - X b is positive: what its difference would be had the confounders not
    changed. Where they did not change, it is `instance_wins`; for a reward that is a confounder and nothing else it is
    1/2. The length-controlled win rate of Dubois et al., arXiv 2404.04475, does this for wins, by logistic regression.

    It assumes that the reward follows the confounders linearly, equally for all prompts, and that what the tuning
    changed else does not go with them. The bound takes b as known; it is too sure where the confounders explain much,
    or changed by nearly the same in all pairs, so that b is a guess.

    Args:
        before: rewards (n,).
        after: rewards (n,) of the other model on the same prompts.
        confounders: (n, k), each pair's difference, after less before: seconds, decibels, share of silence.

    Returns:
        None where it cannot be told: a confounder changed by one and the same in all pairs, or there are not more pairs
        than confounders and the intercept.

    Raises:
        ValueError: other shapes, or values that are not finite.

    >>> louder = np.array([3.0, 1.0, 2.0, 4.0, 2.5])
    >>> controlled_win_rate(np.zeros(5), 0.1 * louder, louder[:, None]).rate
    0.5
    """
    gains, changes = _checked(before, after, confounders)
    spread = changes - changes.mean(0)
    still = np.abs(spread).max(0) <= ROUNDING * np.abs(changes).max(0)
    if (still & (changes != 0).any(0)).any() or len(gains) <= changes.shape[1] + 1:
        return None
    slopes = np.linalg.lstsq(spread, gains - gains.mean(), rcond=None)[0]
    left = gains - changes @ slopes
    left[np.abs(left) <= ROUNDING * np.abs(gains).max()] = 0
    return win_rate(float(signs_as_wins(left).sum()), len(left))


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
    return new - old, changes
