"""Adjust the p values of many rewards that are looked at together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p values (m,) for m looks: rejecting the adjusted ones below 5% errs anywhere in at most 5% (Holm 1979).

    In ascending order, for i from 0:

        adjusted_i = max_{j <= i} min(1, (m - j) p_j)

    Valid however the tests depend on each other.

    Raises:
        ValueError: a p value is outside [0, 1].

    >>> holm([0.04, 0.01, 0.03]).round(3)
    array([0.06, 0.03, 0.06])
    """
    p = np.asarray(p_values, float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values lie between 0 and 1; got {p}")
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, np.arange(len(p), 0, -1) * p[order]))
    return adjusted
