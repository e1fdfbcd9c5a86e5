"""Figures as cells of tables: rounded for people, exact for machines, grey where they are within noise."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import pandas as pd

from dragon_train.bench.report.view import Cell

MINUS = "\N{MINUS SIGN}"
LEVELS = 10  # shades on either side of an even win rate
NOISE, GAIN, LOSS, TARGET = "noise", "gain", "loss", "target"  # classes of the style sheet


def number(value: float, form: str) -> str:
    """Return a number as text, with a real minus sign and exponents without leading zeros.

    >>> number(-9.74e-05, ".3g"), number(0.854166, ".1%")
    ('−9.74e−5', '85.4%')
    """
    mantissa, e, exponent = f"{value:{form}}".partition("e")
    return (mantissa.removesuffix(".") + (f"e{int(exponent)}" if e else "")).replace("-", MINUS)


def figure(value: float) -> Cell:
    """Return a number in four digits, or a count in all of its digits; an empty cell if it is missing.

    >>> figure(0.8).text, figure(12345).text, figure(4.2e-06).text
    ('0.8000', '12345', '4.200e−6')
    """
    if pd.isna(value):
        return Cell("")
    return Cell(number(value, "d" if isinstance(value, Integral) else "#.4g"), float(value))


def share(value: float) -> Cell:
    """Return a share in percent; an empty cell if it is missing.

    >>> share(0.854166).text
    '85.4%'
    """
    return Cell(number(value, ".1%"), float(value)) if pd.notna(value) else Cell("")


def probability(value: float) -> Cell:
    """Return a p-value in two digits; an empty cell if it is missing.

    >>> probability(4.523e-06).text
    '4.5e−6'
    """
    return Cell(number(value, ".2g"), float(value)) if pd.notna(value) else Cell("")


def signed(value: float) -> Cell:
    """Return a change with its sign; an empty cell if it is missing.

    >>> signed(0.25).text, signed(-0.25).text
    ('+0.250', '−0.250')
    """
    return Cell(number(value, "+#.3g"), float(value)) if pd.notna(value) else Cell("")


def improvement(value: float) -> Cell:
    """Return a change that is for the better where it is positive, to be shown as a gain or a loss."""
    return Cell(number(value, "+#.3g"), float(value), GAIN if value > 0 else LOSS)


def duration(seconds: float) -> Cell:
    """Return a number of seconds as a person says it, in hours, minutes or seconds.

    >>> duration(75).text, duration(7500).text
    ('1.2 min', '2.1 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return Cell(f"{seconds / length:.1f} {unit}", seconds)
    return Cell(f"{seconds:.1f} s", seconds)


def heat(rate: float, *, own: bool = False, noise: bool = False) -> Cell:
    """Return a win rate as a cell of the heat map.

    Its look is `l1` to `l10` below one half, `w1` to `w10` above, stronger the further from it, `even`, or `noise`; and
    `own` for the reward that the run was tuned on.
    """
    level = round(abs(rate - 0.5) * 2 * LEVELS)
    shade = f"{'w' if rate > 0.5 else 'l'}{level}" if level else "even"  # noqa: PLR2004
    look = NOISE if noise else shade
    return Cell(f"{rate:.2f}", rate, f"{look} own" if own else look)


def cell(value: Any) -> Cell:
    """Return a text as it is, true and false as yes and no, and a number in four digits; empty if it is missing.

    >>> cell("air").text, cell(True).text, cell(float("nan")).text
    ('air', 'yes', '')
    """
    if isinstance(value, str):
        return Cell(value)
    if pd.isna(value):
        return Cell("")
    return Cell("yes" if value else "no") if pd.api.types.is_bool(value) else figure(value)
