"""Vega-Lite charts without colours and fonts, which the page gives them from its light or its dark scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from altair import LayerChart

    from dragon_train.bench.report.paired_change import PairedChange

    Spec = dict[str, Any]

ROW = 40  # pixels: a line of text and a line of marks
LABEL, MARK = -9, 6  # pixels of each from the middle of the row
WIDE = 640  # pixels from which there is space for figures beside the names
TICKS = 8  # at most, of steps
SCIENTIFIC = "datum.value ? format(datum.value, '~e') : '0'"
PLAIN = 1e-3, 1e5  # what is smaller or larger has ticks in scientific notation
NOISE, EFFECT, UNKNOWN = "within noise", "beyond noise", "without interval"
SHAPES = {NOISE: "diamond", EFFECT: "circle", UNKNOWN: "cross"}


def finished(chart: LayerChart | alt.Chart, description: str) -> Spec:
    """Return the specification of a chart, as wide as its place on the page.

    Args:
        chart: what is drawn.
        description: the text that a screen reader says.
    """
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    spec: Spec = chart.properties(width="container", autosize=fit, description=description).to_dict()
    del spec["config"]  # altair's own look
    return spec


def axis(values: Iterable[float], title: str | None = None, **more: Any) -> alt.Axis:
    """Return an axis whose ticks are in scientific notation where the largest value is tiny, or very large.

    >>> axis([4.2e-06]).to_dict(), axis([0.25]).to_dict()
    ({'labelExpr': "datum.value ? format(datum.value, '~e') : '0'", 'title': None}, {'title': None})
    """
    given = np.abs(np.asarray(list(values), float))
    largest = float(np.max(given, initial=0.0, where=np.isfinite(given)))
    scientific = largest > 0 and not PLAIN[0] <= largest < PLAIN[1]
    label = {"labelExpr": SCIENTIFIC} if scientific else {}
    return alt.Axis.from_dict({"title": title, **label, **more})


def rows(field: str, names: Sequence[str] | None = None) -> alt.Y:
    """Return an axis with a row for each name, without labels: `labels` writes the long names above the marks.

    Args:
        field: of the names.
        names: their order; None takes them as they come.
    """
    return alt.Y(f"{field}:N", sort=names and list(names), axis=None)


def labels(base: alt.Chart, field: str) -> alt.Chart:
    """Return a layer of names, each above the marks of its row."""
    text = base.mark_text(align="left", baseline="middle", yOffset=LABEL, aria=False)
    named: alt.Chart = text.encode(x=alt.value(0), text=f"{field}:N")
    return named


def figures(base: alt.Chart, field: str) -> alt.Chart:
    """Return a layer of figures at the right end of each row, where the chart is wide enough."""
    wide = alt.ExprRef(f"width < {WIDE} ? 0 : 1")
    text = base.mark_text(align="right", baseline="middle", yOffset=LABEL, aria=False, opacity=wide)
    written: alt.Chart = text.encode(x=alt.value("width"), text=f"{field}:N")
    return written


def evidence(legend: Iterable[str] | None) -> dict[str, Any]:
    """Return the colour and the shape of dots by their evidence.

    Args:
        legend: what occurs of `SHAPES`; None leaves the legend out.
    """
    kinds = [kind for kind in SHAPES if kind in {NOISE, EFFECT, *(legend or ())}]
    shown = alt.Legend(title=None) if legend is not None else None
    shapes = alt.Scale(domain=kinds, range=[SHAPES[kind] for kind in kinds])
    return {
        "color": alt.Color("evidence:N", scale=alt.Scale(domain=kinds), legend=shown),
        "shape": alt.Shape("evidence:N", scale=shapes, legend=shown),
    }


def forest(table: pd.DataFrame, rules: Sequence[float], x: alt.X, description: str) -> Spec:
    """Draw a row for each name: a dot, a line over its interval, and rules across all rows, as where nothing changed.

    Args:
        table: columns name, value, low, high (missing where there is no interval), evidence (`NOISE`, `EFFECT` or
            `UNKNOWN`), and text (the figures in words).
        rules: where the rules are.
        x: the axis of the field `value`.
        description: the text that a screen reader says.
    """
    base = alt.Chart(table).encode(y=rows("name", list(table["name"])))
    line = base.mark_rule(strokeWidth=3, opacity=0.45, yOffset=MARK, aria=False).encode(x="low:Q", x2="high:Q")
    dots = base.mark_point(filled=True, size=90, opacity=1, yOffset=MARK).encode(
        x=x, **evidence(set(table["evidence"])), tooltip=["name:N", "text:N", "evidence:N"]
    )
    chart = dashed(rules) + line + dots + labels(base, "name") + figures(base, "text")
    return finished(chart.properties(height=ROW * len(table)), description)


def dashed(places: Sequence[float]) -> alt.Chart:
    """Return a layer of dashed rules across the whole chart."""
    rules: alt.Chart = alt.Chart(pd.DataFrame({"at": places})).mark_rule(strokeDash=[3, 3], aria=False).encode(x="at:Q")
    return rules


def strip(changes: Sequence[float], names: Sequence[str], whole: PairedChange, description: str) -> Spec:
    """Draw the change of each pair as a tick beside 0, and below them the change of all pairs with its interval.

    Right is better: changes and interval have the sign that makes them positive where they are for the better.

    Args:
        changes: of each pair, positive where it is for the better.
        names: of the pairs.
        whole: the change of all of them.
        description: the text that a screen reader says.
    """
    ends = sorted((whole.sign * whole.low, whole.sign * whole.high))
    mean = {"change": whole.sign * whole.change, "low": ends[0], "high": ends[1]}
    pairs = pd.DataFrame({"pair": names, "change": changes})
    x = alt.X("change:Q", axis=axis([*changes, *mean.values()], "for the better →", tickCount=5))
    each = (
        alt.Chart(pairs)
        .mark_tick(thickness=2, opacity=0.7, height=14)
        .encode(x=x, y=alt.value(12), tooltip=["pair:N", "change:Q"])
    )
    base = alt.Chart(pd.DataFrame([{**mean, "evidence": NOISE if whole.noise else EFFECT}])).encode(y=alt.value(38))
    line = base.mark_rule(strokeWidth=3, opacity=0.45, aria=False).encode(x="low:Q", x2="high:Q")
    dot = base.mark_point(filled=True, size=90, opacity=1).encode(x="change:Q", **evidence(None))
    return finished((dashed([0.0]) + each + line + dot).properties(height=50), description)


def histogram(changes: Sequence[float], description: str) -> Spec:
    """Draw the distribution of paired changes, with a rule at 0 and a line at their mean; right is better.

    Args:
        changes: positive where they are for the better.
        description: the text that a screen reader says.
    """
    counts, edges = np.histogram(changes, bins=24)
    bars = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "count": counts})
    means = pd.DataFrame({"mean": [float(np.mean(changes))]})
    x = alt.X("from:Q", bin="binned", axis=axis(edges, "for the better →", tickCount=5, grid=False))
    drawn = (
        alt.Chart(bars)
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(x=x, x2="to:Q", y=alt.Y("count:Q", axis=None), tooltip=["from:Q", "to:Q", "count:Q"])
    )
    line = alt.Chart(means).mark_rule(strokeWidth=2, aria=False).encode(x="mean:Q")
    return finished((drawn + dashed([0.0]) + line).properties(height=110), description)


def curves(table: pd.DataFrame, names: Sequence[str], description: str, least: float | None = None) -> Spec:
    """Draw a line over the training steps for each of these columns.

    Args:
        table: a row for each step, with a column `step`.
        names: which of its columns are drawn.
        description: the text that a screen reader says.
        least: where the axis begins at the latest, so that small differences look small; None fits it to the values.
    """
    long = table[["step", *names]].melt("step", var_name="figure", value_name="value").dropna()
    ticks = table["step"].tolist()[:: -(-len(table) // TICKS)]
    x = alt.X("step:Q", axis=alt.Axis(values=ticks, format="d", title="step", grid=False))
    scale = alt.Scale(zero=False) if least is None else alt.Scale(domainMin=least, zero=False)
    y = alt.Y("value:Q", scale=scale, axis=axis(long["value"], tickCount=4))
    chart = alt.Chart(long).mark_line(point=True).encode(x=x, y=y)
    if len(names) > 1:
        chart = chart.encode(color=alt.Color("figure:N", sort=None, legend=alt.Legend(title=None, columns=1)))
    return finished(chart.properties(height=150), description)


def bars_by_run(seconds: pd.DataFrame) -> Spec:
    """Draw a bar for each run, its minutes stacked by phase.

    Args:
        seconds: columns run, phase, rank (the order of the phases) and minutes.
    """
    y, runs = rows("run"), seconds.drop_duplicates("run")
    base = alt.Chart(seconds).encode(y=y)
    x = alt.X("minutes:Q", axis=alt.Axis(title="minutes", tickCount=6))
    bars = base.mark_bar(size=12, yOffset=MARK).encode(x=x, color=phases(), order="rank:Q")
    names = labels(alt.Chart(runs).encode(y=y), "run")
    return finished((bars + names).properties(height=ROW * len(runs)), "Minutes of each run, by phase")


def bars_by_step(seconds: pd.DataFrame) -> Spec:
    """Draw a bar for each step, its seconds stacked by phase.

    Args:
        seconds: columns step, phase, rank (the order of the phases) and seconds.
    """
    x = alt.X("step:O", axis=alt.Axis(labelAngle=0, labelOverlap=True, title="step"))
    y = alt.Y("seconds:Q", axis=alt.Axis(title="seconds", tickCount=4))
    chart = alt.Chart(seconds).mark_bar().encode(x=x, y=y, color=phases(), order="rank:Q")
    return finished(chart.properties(height=180), "Seconds of each step, by phase")


def phases() -> alt.Color:
    """Return a colour for each phase of a training step, with a legend."""
    return alt.Color("phase:N", sort=None, legend=alt.Legend(title=None, columns=3))
