"""Show of what kinds is what scores high, and which of them the untuned and each tuned model make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

from dragon_train.bench.facets import FAR, LEVEL, SHOWN, named, summary
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import probability, share
from dragon_train.bench.report.media import PageClip
from dragon_train.bench.report.view import Cell, Chart, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.bench.report.pairs import PairSet

NOTE = (
    "The best quarter of the untuned clips under a run's reward falls into facets, clusters in the space of the "
    "reward's encoder. A dot is the share of all tuned clips that are nearest to a facet, and a line leads to it from "
    "the share of the untuned ones; far are clips that are farther from every facet than 99% of the untuned clips. A "
    "run that has hacked its reward makes mostly clips of one facet, or clips far from all: where more clips do so "
    "than chance explains, it is said in words. Clips that are better than all before may be far, too: listen to them."
)
SHOWS = (
    "Below each chart are the untuned clips that score high and are nearest to each facet, and the tuned clips that "
    "are farthest from all. Those that are among the pairs of this page can be played."
)


def facets_section(table: pd.DataFrame, pairs: Mapping[str, PairSet]) -> Section:
    """Show facets.csv: a chart for each run, with the clips of each facet, and a table of what was found.

    Args:
        table: facets.csv.
        pairs: by run, the pairs of clips that the page plays.
    """
    words = table["finding"].map(lambda cell: cell if isinstance(cell, str) else "")  # empty cells are read as NaN
    shown = table.assign(finding=words)
    drawn = tuple(facets_chart(str(run), rows, pairs.get(str(run))) for run, rows in shown.groupby("run", sort=False))
    title = "What kinds of clips score high?"
    return Section("facets", title, "Facets", (NOTE, summary(shown), SHOWS), drawn, findings(shown), cards=True)


def findings(table: pd.DataFrame) -> Table | None:
    """Return the rows in which something was found; None if there are none."""
    rows = [
        (Cell(row["run"]), Cell(row["facet"]), share(row["untuned"]), share(row["tuned"]), Cell(row["finding"]))
        for row in table[table["finding"] != ""].to_dict("records")
    ]
    columns = ("tuned toward", "facet", "untuned", "tuned", "finding")
    return Table("Runs that have changed the kinds of their clips", columns, tuple(rows)) if rows else None


def facets_chart(run: str, rows: pd.DataFrame, made: PairSet | None) -> Chart:
    """Draw the shares of the facets of a run, with a table of their clips.

    Args:
        run: its name.
        rows: of the run.
        made: the pairs of the run that the page plays, if any.
    """
    told = rows.to_dict("records")
    shown = pd.DataFrame(
        {
            "name": rows["facet"],
            "value": rows["tuned"],
            "low": rows[["untuned", "tuned"]].min(axis=1),
            "high": rows[["untuned", "tuned"]].max(axis=1),
            "evidence": [charts.EFFECT if row["p_value"] <= LEVEL else charts.NOISE for row in told],
            "text": [f"{share(row['untuned']).text} → {share(row['tuned']).text}" for row in told],
        }
    )
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", title="of all clips", tickCount=5))
    spec = charts.forest(shown, (), x, f"Shares of the clips of each facet, tuned toward {run}")
    return Chart(run, spec, clips_table(run, told, made))


def clips_table(run: str, rows: Sequence[Mapping[Any, Any]], made: PairSet | None) -> Table:
    """Return the figures behind a chart, and clips by which each facet is shown, with sound where the page has it."""
    columns = ("facet", "untuned", "tuned", "p-value for more", *(f"clip {place}" for place in range(1, SHOWN + 1)))
    sounds = {far: sounds_of(made, tuned=far) for far in (False, True)}
    cells = (
        (
            Cell(row["facet"], note=row["finding"]),
            *(share(row["untuned"]), share(row["tuned"]), probability(row["p_value"])),
            *(heard(row[f"clip_{place}"], sounds[row["facet"] == FAR]) for place in range(1, SHOWN + 1)),
        )
        for row in rows
    )
    return Table(f"Facets of what scores high under {run}", columns, tuple(cells))


def heard(name: str, sounds: Mapping[str, str]) -> Cell:
    """Return the cell of a clip, with a player where its sound is known."""
    return Cell(name, audio=sounds.get(name, ""))


def sounds_of(made: PairSet | None, *, tuned: bool) -> dict[str, str]:
    """Return the sounds of the untuned or the tuned clips of pairs, by the names of the clips."""
    sides = [(pair, pair.after if tuned else pair.before) for pair in (made.pairs if made else ())]
    return {named(pair.prompt, pair.seed): side.audio for pair, side in sides if isinstance(side, PageClip)}
