"""The content of the page for its template: figures as text, tables, and charts with the tables behind them."""

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
    """A figure or a name in a table.

    Attributes:
        text: what is read.
        value: the exact value of a figure.
        look: class of the style sheet that gives it its looks.
    """

    text: str
    value: float | None = None
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row names the row.

    Attributes:
        caption: of the table.
        columns: their headings.
        rows: a cell for each column.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A chart of the page, with the table that it was drawn from.

    Attributes:
        title: its heading.
        spec: in Vega-Lite.
        table: of its figures; None where another part of the page has them.
    """

    title: str
    spec: Mapping[str, Any]
    table: Table | None = None


@dataclass(frozen=True)
class Fact:
    """One of the figures that a reader looks for first.

    Attributes:
        term: what the figure is of.
        cell: the figure.
    """

    term: str
    cell: Cell


@dataclass(frozen=True)
class PairRow:
    """A pair as it is shown, with a cell for each reward that judges it.

    Attributes:
        pair: its clips or images.
        improvements: from the untuned to the tuned one, by reward.
        before: values of the untuned one, by reward.
        after: values of the tuned one, by reward.
    """

    pair: Pair
    improvements: tuple[Cell, ...]
    before: tuple[Cell, ...]
    after: tuple[Cell, ...]


@dataclass(frozen=True)
class Players:
    """The pairs of a run, to be played or looked at.

    Attributes:
        noun: `clip` or `image`.
        rewards: names of what judges them.
        rows: the pairs, the most improved first.
        notes: how they came about, and what their figures mean.
    """

    noun: str
    rewards: tuple[str, ...]
    rows: tuple[PairRow, ...]
    notes: Sequence[str]


@dataclass(frozen=True)
class RunView:
    """The part of the page that shows one run.

    Attributes:
        name: of the run.
        facts: what a reader looks for first.
        curves: charts of its training.
        metrics: metrics.csv as a table.
        pairs_chart: a chart of its pairs for each reward that judges them.
        players: its pairs; None if there are none.
        configuration: its settings.
    """

    name: str
    facts: tuple[Fact, ...]
    curves: tuple[Chart, ...]
    metrics: Table
    pairs_chart: tuple[Chart, ...]
    players: Players | None
    configuration: Table


@dataclass(frozen=True)
class PageView:
    """The content of the whole page; what a page does not have is empty or None.

    Attributes:
        title: of the page.
        lead: what the results are of, in a sentence.
        facts: what a reader looks for first.
        runs: each run by itself.
        time: where the time of training went.
        time_notes: what it cost.
        configuration: settings of the run, or the preset of the benchmark.
        versions: of what made the results.
        plugins: which made the results.
        silent: why there are no players; empty where there are some.
        wins: win rates against the untuned model.
        wins_notes: how they came about.
        carried: win rates under rewards that were held out.
        confounders: length, loudness and silence.
        cross: win rates of every run under every reward.
        distributions: of each run's own reward, before and after.
        diversity: Vendi score of each run's clips.
    """

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
    """Return a number in four digits; an empty cell if it is missing.

    >>> figure(0.854166).text
    '0.8542'
    """
    return Cell(f"{value:.4g}", float(value)) if pd.notna(value) else Cell("")


def share(value: float) -> Cell:
    """Return a share in percent; an empty cell if it is missing.

    >>> share(0.854166).text
    '85.4%'
    """
    return Cell(f"{value:.1%}", float(value)) if pd.notna(value) else Cell("")


RATES = dict.fromkeys(("win_rate", "lower", "target", "heldout", "same_question", "musicnn"), share)


def signed(value: float) -> Cell:
    """Return a difference with its sign, to be shown as a gain or a loss.

    >>> signed(0.25).text, signed(-0.25).text
    ('+0.25', '−0.25')
    """
    return Cell(f"{value:+.3g}".replace("-", "\N{MINUS SIGN}"), float(value), "gain" if value > 0 else "loss")


def duration(seconds: float) -> Cell:
    """Return a number of seconds as a person says it, in hours, minutes or seconds.

    >>> duration(75).text, duration(7500).text
    ('1.2 min', '2.1 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return Cell(f"{seconds / length:.1f} {unit}", seconds)
    return Cell(f"{seconds:.1f} s", seconds)


def heat(rate: float, *, own: bool = False) -> Cell:
    """Return a win rate as a cell of the heat map.

    Its look is `l1` to `l10` below one half, `w1` to `w10` above, stronger the further from it, or `even`; and `own`
    for the reward that the run was tuned toward.
    """
    level = round(abs(rate - 0.5) * 2 * LEVELS)
    shade = f"{'w' if rate > 0.5 else 'l'}{level}" if level else "even"  # noqa: PLR2004
    return Cell(f"{rate:.2f}", rate, f"{shade} own" if own else shade)


def frame_table(
    caption: str, frame: pd.DataFrame, formats: Mapping[str, Callable[[float], Cell]], names: Mapping[str, str]
) -> Table:
    """Return a frame as a table of the page.

    Args:
        caption: of the table.
        frame: whose texts are shown as they are.
        formats: how the numbers of a column are shown, by its name; `figure` for others.
        names: headings of columns, by their names; others are their names in words.
    """
    columns = tuple(names.get(column, column.replace("_", " ")) for column in frame.columns)
    rows = [
        tuple(cell(value, formats.get(str(column), figure)) for column, value in zip(frame.columns, row, strict=True))
        for row in frame.itertuples(index=False)
    ]
    return Table(caption, columns, tuple(rows))


def cell(value: Any, form: Callable[[float], Cell]) -> Cell:
    """Return a text as it is, and a number in the given form."""
    return Cell(value) if isinstance(value, str) else form(value)


def key_values(caption: str, values: Mapping[str, Any]) -> Table:
    """Return a table with a row for each key, and for each key of a table within."""
    return Table(caption, ("name", "value"), tuple((Cell(key), Cell(plain(value))) for key, value in flat(values)))


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys and values; a key of a table within follows the key of that table after a dot.

    >>> list(flat({"seed": 0, "train": {"steps": 2}}))
    [('seed', 0), ('train.steps', 2)]
    """
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def plain(value: Any) -> str:
    """Return a value of a configuration as text.

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
