"""Tell which blends are worth having: the Pareto front of the reward against each of its taxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dragon_train.blend import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.blend.curves import Blend


def dominated(gains: Sequence[float], taxes: Sequence[float]) -> list[bool]:
    """Return for each blend whether another has at least its gain and no more tax, and is better in one of them.

    >>> dominated([1.0, 2.0, 1.5], [0.0, 1.0, 2.0])
    [False, False, True]
    """
    points = list(zip(gains, taxes, strict=True))
    return [
        any(gain >= own and tax <= paid and (gain, tax) != (own, paid) for gain, tax in points) for own, paid in points
    ]


def table_of(blends: Sequence[Blend]) -> pd.DataFrame:
    """Return a row for each blend, with the names of the taxes in whose front it is not.

    The columns are the constants of `columns`, and what else was measured; taxes that were not measured are left out.
    """
    rows = [
        {
            columns.KIND: blend.kind,
            columns.SHARE: blend.share,
            **{f"{columns.PART}_{number}": share for number, share in enumerate(blend.shares, 1)},
            **blend.figures,
        }
        for blend in blends
    ]
    table = pd.DataFrame(rows)
    beaten = {tax: fallen(table, tax) for tax in taxes_of(table)}
    names = [", ".join(tax for tax, marks in beaten.items() if marks[place]) for place in range(len(table))]
    return table.assign(**{columns.DOMINATED: names})


def taxes_of(table: pd.DataFrame) -> list[str]:
    """Return the names of the taxes that were measured."""
    return [tax for tax in columns.TAXES if tax in table]


def fallen(table: pd.DataFrame, tax: str) -> list[bool]:
    """Return for each row whether another dominates it in the reward against a tax."""
    return dominated(table[columns.REWARD].tolist(), (-columns.TAXES[tax] * table[tax]).tolist())


def main_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that a reader needs: the shares, what they gain and cost, and which to leave."""
    parts = [str(name) for name in table if str(name).startswith(f"{columns.PART}_")]
    gained = [columns.REWARD, columns.WIN_RATE, *taxes_of(table)]
    return [columns.KIND, columns.SHARE, *(parts if len(parts) > 1 else ()), *gained, columns.DOMINATED]
