"""Go through the blends of a run: a curve of shares that all parts have, and one in which each part has its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_train.blend.columns import REWARD
from dragon_train.blend.shares import candidates, inner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dragon_train.blend.shares import Shares

    Measure = Callable[[Shares], Mapping[str, float]]

UNIFORM, PER_PART = "uniform", "per part"


@dataclass(frozen=True)
class Blend:
    """A blend and what was measured of it.

    Attributes:
        kind: whether all parts have one share, or each its own.
        share: the mean of the shares.
        shares: one for each part.
        figures: what it gains and costs, by name.
    """

    kind: str
    share: float
    shares: Shares
    figures: Mapping[str, float]


def uniform(shares: Shares, parts: int, measure: Measure) -> list[Blend]:
    """Measure the blends in which all parts have one share."""
    return [Blend(UNIFORM, share, same, measure(same)) for share in shares for same in [(share,) * parts]]


def per_part(shares: Shares, parts: int, measure: Measure) -> list[Blend]:
    """Measure candidates for each inner share, and return the one with the most reward of each.

    Args:
        shares: the means of the candidates' shares.
        parts: the number of parts.
        measure: returns the figures of a blend, `columns.REWARD` among them.
    """
    found = []
    for share in inner(shares):
        measured = [Blend(PER_PART, share, each, measure(each)) for each in candidates(share, parts)]
        found += [max(measured, key=lambda blend: blend.figures[REWARD])] if measured else []
    return found
