"""Show the tables that a benchmark may have beside its win rates, each with what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd
from pandas.api.types import is_numeric_dtype

from dragon_train.bench.report import charts, source
from dragon_train.bench.report.cells import NOISE, figure, share
from dragon_train.bench.report.comparison import run_table
from dragon_train.bench.report.evidence import EVEN
from dragon_train.bench.report.tables import frame_table, words
from dragon_train.bench.report.view import Chart, Section

if TYPE_CHECKING:
    from collections.abc import Mapping

RATES = ("heldout", "same_question", "musicnn")  # mean win rates in held_out.csv
HEADLINE = (
    "The figures of all rewards in a few. The 95% intervals resample rewards, each with all of its seeds: they tell "
    "how far a mean depends on which rewards were chosen."
)
CARRIED = (
    "A reward is held out from a run if it has another encoder and, where it has an exemplar set, one of other music. "
    "The mean win rates are under all such rewards, and under the run's own kind of reward among them: a gain carries "
    "over where the latter is above 50%. A win rate by musicnn, where there is one, is by an encoder that has heard "
    "real music and that no run is tuned toward. Means that are not above one half are grey."
)
CEILINGS = (
    "What real music that was held out has by each reward, as it is and through the pipeline's codec, beside the "
    "untuned and the tuned model. A reward has headroom where the untuned model is worse than real music, beyond the "
    "intervals of both. Without headroom a gain is not a step toward real music, and its row is grey."
)
COLLATERAL = (
    "What else changed: each figure of the tuned models beside the untuned model's, in the first row. A run that "
    "gained by its reward and lost here has paid for it. What is as prompted is so in a share of the clips, by a probe "
    "that listens for what the prompt names; the denoising error is on real clips, with the same noise for every model."
)
CONFOUNDERS = (
    "Means over the held-out clips, and the win rate with its 95% interval once the part of the gain is removed that "
    "goes with them. What its interval leaves open is grey."
)


def further_sections(tables: Mapping[str, pd.DataFrame]) -> list[Section]:
    """Return a section for each of the tables that are there, by the names of their files."""
    shown = {
        source.HEADLINE: headline_section,
        source.CEILINGS: ceilings_section,
        source.CARRIED: carried_section,
        source.COLLATERAL: collateral_section,
        source.CONFOUNDERS: confounders_section,
    }
    return [section(tables[name]) for name, section in shown.items() if name in tables]


def headline_section(table: pd.DataFrame) -> Section:
    """Show the few figures that sum a benchmark up."""
    shown = table.rename(columns={"low": "mean_low", "high": "mean_high"}).assign(figure=table["figure"].map(words))
    made = frame_table("Means over the rewards", shown)
    return Section("headline", "Means over the rewards", "Means", (HEADLINE,), table=made)


def carried_section(table: pd.DataFrame) -> Section:
    """Show win rates under rewards that were held out."""
    rates = [name for name in RATES if name in table and is_numeric_dtype(table[name])]

    def unclear(column: str) -> Any:
        return lambda row: "" if pd.isna(row[column]) or row[column] > EVEN else NOISE

    made = run_table("Win rates under held-out rewards", table, {column: unclear(column) for column in rates})
    return Section("carried", "Does the gain carry over?", "Held out", (CARRIED,), table=made)


def confounders_section(table: pd.DataFrame) -> Section:
    """Show length, loudness and silence, and the win rates without their part."""

    def unclear(row: Mapping[str, Any]) -> str:
        return NOISE if row["controlled_low"] <= EVEN <= row["controlled_high"] else ""

    looks = {"controlled": unclear} if {"controlled", "controlled_low", "controlled_high"} <= set(table) else {}
    made = run_table("Length, loudness and silence", table, looks)
    return Section("confounders", "Length, loudness, silence", "Confounders", (CONFOUNDERS,), table=made)


def collateral_section(table: pd.DataFrame) -> Section:
    """Show side effects, whose columns say what they are."""
    made = run_table("Side effects", table)
    return Section("collateral", "Side effects", "Side effects", (COLLATERAL,), table=made)


def ceilings_section(table: pd.DataFrame) -> Section:
    """Show how far the models are from real music."""
    made = run_table("Rewards of real music and of the models", explained(table), {"run": without_headroom})
    room = table[table["headroom"].eq(1) & table["share"].notna()]
    drawn = () if room.empty else (way(room),)
    return Section("ceilings", "How far is real music?", "Real music", (CEILINGS,), drawn, made)


def explained(table: pd.DataFrame) -> pd.DataFrame:
    """Return ceilings.csv with its headroom in words: yes, no, or why it is not known."""
    said = [headroom(row) for row in table.to_dict("records")]
    return table.drop(columns="note", errors="ignore").assign(headroom=said)


def headroom(row: Mapping[Any, Any]) -> str:
    """Say whether the reward of a row of ceilings.csv has headroom, or why that is not known."""
    if row["headroom"] in {True, False}:
        return "yes" if row["headroom"] else "no"
    return f"not known: {row['note']}" if isinstance(row.get("note"), str) else "not known"


def without_headroom(row: Mapping[str, Any]) -> str:
    """Return the look of a row of ceilings.csv: grey where the reward has no headroom."""
    return NOISE if row["headroom"] == "no" else ""


def way(room: pd.DataFrame) -> Chart:
    """Draw the share of the way from the untuned model to real music that each run went.

    Args:
        room: rows of ceilings.csv with headroom.
    """
    rows = room.to_dict("records")
    shown = pd.DataFrame(
        {
            "name": room["run"],
            "value": room["share"],
            "low": room["share"].clip(upper=0),
            "high": room["share"].clip(lower=0),
            "evidence": [charts.NOISE if overlap(row) else charts.EFFECT for row in rows],
            "text": [f"{share(row['share']).text}: {' → '.join(said(row))}" for row in rows],
        }
    )
    ends = alt.Scale(domain=[min(0.0, room["share"].min()), max(1.0, room["share"].max())])
    title = "way from the untuned model (0%) to real music (100%)"
    x = alt.X("value:Q", scale=ends, axis=alt.Axis(format="%", title=title, tickCount=8))
    description = "Share of the way from the untuned model to real music that each run went, of rewards with headroom"
    return Chart("Way to real music, of rewards with headroom", charts.forest(shown, (0.0, 1.0), x, description))


def overlap(row: Mapping[Any, Any]) -> bool:
    """Tell whether the intervals of the untuned and the tuned model overlap."""
    return not (row["tuned_low"] > row["untuned_high"] or row["tuned_high"] < row["untuned_low"])


def said(row: Mapping[Any, Any]) -> list[str]:
    """Return the values of the untuned model, the tuned model and real music as text."""
    return [figure(row[name]).text for name in ("untuned", "tuned", "real")]
