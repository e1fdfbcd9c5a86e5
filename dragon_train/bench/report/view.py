"""What the template shows: figures as text with their exact values, tables, and charts with the tables behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dragon_train.bench.report.pairs import Pair

LEVELS = 10  # shades on either side of an even win rate


NAMES = {  # columns of tables, for people
    "served": "judged by",
    "direction": "better",
    "before": "untuned",
    "after": "tuned",
    "lower": "95% bound",
    "p_value": "p",
    "permutation_p": "p, permutation",
    "holm": "p, Holm",
    "target": "own reward",
    "heldout": "held-out rewards",
    "judges": "of them",
    "same_question": "of the same reduction",
    "without_gain": "no gain under",
}


@dataclass(frozen=True)
class Cell:
    """A figure, or a name: what is read, the exact value of a figure, and a class for its looks."""

    text: str
    value: float | None = None
    look: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A chart and the table behind it."""

    title: str
    spec: Mapping[str, Any]
    table: Table | None = None


@dataclass(frozen=True)
class Fact:
    """A term and what holds for it."""

    term: str
    cell: Cell


@dataclass(frozen=True)
class PairRow:
    """A pair as it is shown: `improvements` are cells by reward."""

    pair: Pair
    improvements: tuple[Cell, ...]
    before: tuple[Cell, ...]
    after: tuple[Cell, ...]


@dataclass(frozen=True)
class Players:
    """The pairs of a run: `clip` or `image`, the rewards that judge them, and notes on how they came about."""

    noun: str
    rewards: tuple[str, ...]
    rows: tuple[PairRow, ...]
    notes: Sequence[str]


@dataclass(frozen=True)
class RunView:
    """What is shown of one run."""

    name: str
    facts: tuple[Fact, ...]
    curves: tuple[Chart, ...]
    metrics: Table
    pairs_chart: tuple[Chart, ...]
    players: Players | None
    configuration: Table


@dataclass(frozen=True)
class PageView:
    """The page."""

    title: str
    lead: str
    facts: tuple[Fact, ...]
    runs: tuple[RunView, ...]
    time: Chart
    time_notes: str
    configuration: Table
    versions: Table
    plugins: Table
    silent: str = ""
    wins: Chart | None = None
    wins_notes: Sequence[str] = ()
    carried: Table | None = None
    confounders: Table | None = None
    cross: Table | None = None
    distributions: tuple[Chart, ...] = field(default=())
    diversity: Chart | None = None


def figure(value: float) -> Cell:
    """A number in four digits.

    >>> figure(0.854166).text
    '0.8542'
    """
    return Cell(f"{value:.4g}", float(value)) if pd.notna(value) else Cell("")


def share(value: float) -> Cell:
    """A share in percent.

    >>> share(0.854166).text
    '85.4%'
    """
    return Cell(f"{value:.1%}", float(value)) if pd.notna(value) else Cell("")


RATES = dict.fromkeys(("win_rate", "lower", "target", "heldout", "same_question"), share)


def signed(value: float) -> Cell:
    """A difference, with its sign.

    >>> signed(0.25).text, signed(-0.25).text
    ('+0.25', '−0.25')
    """
    return Cell(f"{value:+.3g}".replace("-", "\N{MINUS SIGN}"), float(value), "gain" if value > 0 else "loss")


def duration(seconds: float) -> Cell:
    """Seconds as a person says them.

    >>> duration(75).text, duration(7500).text
    ('1.2 min', '2.1 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return Cell(f"{seconds / length:.1f} {unit}", seconds)
    return Cell(f"{seconds:.1f} s", seconds)


def heat(rate: float, *, own: bool = False) -> Cell:
    """A win rate as a cell of the heat map: `l1`..`l10` below one half, `w1`..`w10` above, the further the stronger."""
    level = round(abs(rate - 0.5) * 2 * LEVELS)
    shade = f"{'w' if rate > 0.5 else 'l'}{level}" if level else "even"  # noqa: PLR2004
    return Cell(f"{rate:.2f}", rate, f"{shade} own" if own else shade)


def frame_table(
    caption: str, frame: pd.DataFrame, formats: Mapping[str, Callable[[float], Cell]], names: Mapping[str, str]
) -> Table:
    """A frame, its columns formatted by name: a figure where no format is given, or text where it is none."""
    columns = tuple(names.get(column, column.replace("_", " ")) for column in frame.columns)
    rows = [
        tuple(cell(value, formats.get(str(column), figure)) for column, value in zip(frame.columns, row, strict=True))
        for row in frame.itertuples(index=False)
    ]
    return Table(caption, columns, tuple(rows))


def cell(value: Any, form: Callable[[float], Cell]) -> Cell:
    """Text as it is, and numbers in a form."""
    return Cell(value) if isinstance(value, str) else form(value)


def key_values(caption: str, values: Mapping[str, Any]) -> Table:
    """A row per key, and per key of a table within."""
    return Table(caption, ("name", "value"), tuple((Cell(key), Cell(plain(value))) for key, value in flat(values)))


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values, those of a table within after a dot.

    >>> list(flat({"seed": 0, "train": {"steps": 2}}))
    [('seed', 0), ('train.steps', 2)]
    """
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def plain(value: Any) -> str:
    """A value of a configuration as text.

    >>> plain([]), plain(["a", "b"]), plain(False), plain({"steps": 2})
    ('none', 'a, b', 'no', 'steps = 2')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return str(value)
