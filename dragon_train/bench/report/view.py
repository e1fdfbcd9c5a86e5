"""The content of the page for its template: figures as text, tables, and charts with the tables behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.bench.report.pairs import Pair


@dataclass(frozen=True)
class Cell:
    """A figure or a name in a table.

    Attributes:
        text: what is read.
        value: the exact value of a figure.
        look: class of the style sheet that gives it its looks.
        note: a second, smaller line, such as the interval of the figure.
        link: address of what the text names.
        audio: data URI of a clip that the text names.
    """

    text: str
    value: float | None = None
    look: str = ""
    note: str = ""
    link: str = ""
    audio: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row names the row, and its look is the look of the whole row.

    Attributes:
        caption: of the table.
        columns: their headings.
        rows: a cell for each column.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def numeric(self, place: int) -> bool:
        """Tell whether the column at this place holds figures."""
        return any(row[place].value is not None for row in self.rows)


@dataclass(frozen=True)
class Chart:
    """A chart of the page, with the table that it was drawn from.

    Attributes:
        title: its heading.
        spec: in Vega-Lite.
        table: of its figures; None where another part of the page has them.
        open: whether the table is open at first.
    """

    title: str
    spec: Mapping[str, Any]
    table: Table | None = None
    open: bool = False


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
class Section:
    """A part of the page about one question.

    Attributes:
        name: of the section in the page's addresses.
        title: its heading.
        link: its name in the list of sections.
        notes: what it shows, and how that came about.
        charts: what it shows as pictures.
        table: what it shows as figures; None if the charts have tables of their own.
        look: class of the table, such as `heat` for a heat map.
        cards: whether the charts stand side by side.
    """

    name: str
    title: str
    link: str
    notes: tuple[str, ...]
    charts: tuple[Chart, ...] = ()
    table: Table | None = None
    look: str = ""
    cards: bool = False


@dataclass(frozen=True)
class PairRow:
    """A pair as it is shown.

    Attributes:
        pair: its clips or images.
        improvements: from the untuned to the tuned one, for each reward; the note has the two values.
    """

    pair: Pair
    improvements: tuple[Cell, ...]


@dataclass(frozen=True)
class Players:
    """The pairs of a run, to be played or looked at.

    Attributes:
        noun: `clip` or `image`.
        rewards: names of what judges them; the look of the run's own is `target`.
        rows: the pairs, the most improved first.
        notes: how they came about, and what their figures mean.
    """

    noun: str
    rewards: tuple[Cell, ...]
    rows: tuple[PairRow, ...]
    notes: Sequence[str]


@dataclass(frozen=True)
class RunView:
    """The part of the page that shows one run.

    Attributes:
        name: of the run.
        facts: what a reader looks for first.
        changes: a chart of the changes of its pairs for each reward that judges them.
        players: its pairs; None if there are none.
        curves: charts of its training.
        metrics: metrics.csv as a table.
        configuration: its settings.
    """

    name: str
    facts: tuple[Fact, ...]
    changes: tuple[Chart, ...]
    players: Players | None
    curves: tuple[Chart, ...]
    metrics: Table
    configuration: Table


@dataclass(frozen=True)
class PageView:
    """The content of the whole page; what a page does not have is empty or None.

    Attributes:
        title: of the page.
        lead: what the results are of, in a sentence.
        facts: what a reader looks for first.
        sections: what is compared, question by question.
        settings: tables of the configuration, versions and plugins; the first is the largest.
        runs: each run by itself.
        silent: why there are no players; empty where there are some.
        time: where the time of training went; None where the page has no runs.
        time_notes: what it cost.
    """

    title: str
    lead: str
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    settings: tuple[Table, ...]
    runs: tuple[RunView, ...] = ()
    silent: str = ""
    time: Chart | None = None
    time_notes: str = ""
