"""How many prompts a comparison takes, with one clip of each from both models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binom

from dragon_rewards.evaluation.win_rates import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 100_000


def prompts_for_width(half_width: float, rate: float = 0.5) -> int:
    """Return the fewest prompts whose two-sided 95% interval (Clopper-Pearson) is at most 2 `half_width` wide.

    For k = rate * n wins, interpolated between whole numbers, and the inverse B of the incomplete beta function:

        width(n) = B_97.5%(k + 1, n - k) - B_2.5%(k, n - k + 1)

    Args:
        half_width: half of the width.
        rate: the win rate at which it is measured; at 1/2 the interval is the widest.

    Raises:
        ValueError: the half width or the rate is outside (0, 1), or it takes more than 100,000 prompts.

    >>> prompts_for_width(0.1), prompts_for_width(0.05), prompts_for_width(0.05, rate=0.8)
    (104, 402, 264)
    """
    if not (0 < half_width < 1 and 0 < rate < 1):
        raise ValueError(f"a half width and a win rate lie between 0 and 1; got {half_width} and {rate}")
    low, high = 1, MOST
    if _width(high, rate) > 2 * half_width:
        raise ValueError(f"an interval of +-{half_width} takes more than {MOST:,} prompts; accept a wider one")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _width(middle, rate) <= 2 * half_width else (middle + 1, high)
    return low


def _width(prompts: int, rate: float) -> float:
    wins, losses = rate * prompts, (1 - rate) * prompts
    low, high = betaincinv(wins, losses + 1, LEVEL / 2), betaincinv(wins + 1, losses, 1 - LEVEL / 2)
    return float(high - low)


def prompts_for_power(rate: float, power: float = 0.8) -> int:
    """Return the fewest prompts from which on a model that wins at a true rate shows it with at least this probability.

    It shows where the one-sided 95% lower bound of `win_rate` is above 1/2. Of n prompts that takes k wins, the least k
    with P(Bin(n, 1/2) >= k) <= 5%, and the exact power is

        P(Bin(n, rate) >= k)

    It saws up and down with n; from the returned n on it stays. Several clips of one prompt count less than as many
    prompts.

    Args:
        rate: the true win rate, above 1/2.
        power: the probability to show it.

    Raises:
        ValueError: the rate is outside (1/2, 1), the power outside (0, 1), or it takes more than 100,000 prompts.

    >>> prompts_for_power(0.6), prompts_for_power(0.7), prompts_for_power(0.6, power=0.95)
    (169, 42, 281)
    """
    if not (0.5 < rate < 1 and 0 < power < 1):  # noqa: PLR2004  a rate that shows nothing
        raise ValueError(f"a win rate to show lies between 1/2 and 1, a power between 0 and 1; got {rate} and {power}")
    most = 64
    while most <= MOST:
        prompts = np.arange(1, most + 1)
        failing = np.flatnonzero(_power(prompts, rate) < power)
        if not failing.size or failing[-1] + 1 < most // 2:
            return int(failing[-1]) + 2 if failing.size else 1
        most *= 2
    raise ValueError(f"a win rate of {rate} takes more than {MOST:,} prompts to show; look for a larger effect")


def _power(prompts: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    # isf(q) is the least k with P(X > k) <= q, and sf(k) is P(X > k).
    return np.asarray(binom.sf(binom.isf(LEVEL, prompts, 0.5), prompts, rate))
