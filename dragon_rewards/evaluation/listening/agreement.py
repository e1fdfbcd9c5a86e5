"""Measure how far raters agree beyond chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Return Krippendorff's alpha for interval data: 1 is full agreement, 0 what chance gives, below 0 is opposition.

        alpha = 1 - D_o / D_e

    D_o is the mean squared difference of two values of one unit, each unit weighing as many values as it has, and D_e
    the mean squared difference of any two of all n values (Krippendorff, Computing Krippendorff's Alpha-Reliability,
    2011). The squared differences of all ordered pairs of m values sum to 2 m SS, with SS the sum of squares about
    their mean, so

        D_o = 2 / n sum_u m_u SS_u / (m_u - 1),    D_e = 2 SS / (n - 1)

    Args:
        units: the values that raters gave to each; one with a single value does not count.

    Returns:
        alpha, or None where no unit has two values or all values are equal, and it is not defined.

    >>> krippendorff_alpha([[0, 0], [1, 1], [0, 1]])
    0.4444444444444444
    """
    rated = [np.asarray(unit, float) for unit in units if len(unit) > 1]
    values = np.concatenate([*rated, np.empty(0)])
    expected = 2 * _squares(values) / max(1, len(values) - 1)
    if not expected:
        return None
    observed = 2 / len(values) * sum(len(unit) * _squares(unit) / (len(unit) - 1) for unit in rated)
    return float(1 - observed / expected)


def _squares(values: np.ndarray) -> float:
    return float(np.square(values - values.mean()).sum()) if len(values) else 0.0
