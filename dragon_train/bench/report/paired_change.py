"""The change of a reward from the untuned to the tuned model over the few pairs of a page, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import t

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL = 0.95


@dataclass(frozen=True)
class PairedChange:
    """How a reward changed over some pairs, in the units of its raw metric.

    Attributes:
        before: of the untuned model: the mean over the clips, or the value of the set.
        after: of the tuned model.
        low: lower end of the two-sided 95% interval of the change; NaN of a single pair, as is the upper end.
        high: upper end.
        sign: 1 where a higher metric is better, else -1.
    """

    before: float
    after: float
    low: float
    high: float
    sign: int

    @property
    def change(self) -> float:
        """The value after tuning less the value before."""
        return self.after - self.before

    @property
    def noise(self) -> bool:
        """True if the interval holds 0 or is unknown, so that the change may be chance."""
        return not (self.low > 0 or self.high < 0)

    @property
    def better(self) -> bool:
        """True if the change is for the better, be it chance or not."""
        return self.sign * self.change > 0


def paired_change(before: float, after: float, without: Sequence[float], sign: int) -> PairedChange:
    """Return the change with its interval by the jackknife, which leaves out one pair at a time.

    With n pairs, D the change and D_i the change without pair i (Tukey 1958; Efron and Stein 1981, The Annals of
    Statistics 9(3), 586-596):

        s^2 = (n - 1) / n sum_i (D_i - mean_j D_j)^2

    and the interval is D -/+ t s, with t the 97.5% quantile of Student's distribution with n - 1 degrees of freedom. Of
    a mean over pairs this is Student's paired interval, which is right for the few pairs of a page, where bootstrap
    intervals are too narrow.

    Args:
        before: of the untuned model.
        after: of the tuned model.
        without: the change without each pair in turn, (n,).
        sign: 1 where a higher metric is better, else -1.

    >>> result = paired_change(1.0, 2.0, [1.0, 1.0, 1.0], 1)
    >>> result.change, result.low, result.high, result.noise
    (1.0, 1.0, 1.0, False)
    """
    pairs, change = len(without), after - before
    if pairs < 2:  # noqa: PLR2004  a single pair says nothing of others
        return PairedChange(before, after, np.nan, np.nan, sign)
    margin = float(t.ppf((1 + LEVEL) / 2, pairs - 1) * np.std(without) * np.sqrt(pairs - 1))
    return PairedChange(before, after, change - margin, change + margin, sign)
