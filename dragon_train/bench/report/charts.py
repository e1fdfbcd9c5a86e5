"""Vega-Lite charts without colours and fonts, which the page gives them from its light or its dark scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from altair import LayerChart

    Spec = dict[str, Any]

ROW = 40  # pixels: a line of text and a line of marks
LABEL, MARK = -9, 6  # pixels of each from the middle of the row
TICKS = 8  # at most, of steps
UNTUNED, TUNED = "untuned", "tuned"
SIDES = alt.Color("model:N", scale=alt.Scale(domain=[UNTUNED, TUNED]), legend=alt.Legend(title=None))


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


def rows(field: str) -> alt.Y:
    """Return an axis with a row for each name, without labels: `labels` writes the long names above the marks."""
    return alt.Y(f"{field}:N", sort=None, axis=None)


def labels(base: alt.Chart, field: str) -> alt.Chart:
    """Return a layer of names, each above the marks of its row."""
    text = base.mark_text(align="left", baseline="middle", yOffset=LABEL, aria=False)
    named: alt.Chart = text.encode(x=alt.value(0), text=f"{field}:N")
    return named


def win_rates(table: pd.DataFrame) -> Spec:
    """Draw a dot for each run's win rate, a line down to its lower bound, and a rule at one half.

    Args:
        table: columns run, win_rate and lower, all in [0, 1].
    """
    base = alt.Chart(table[["run", "win_rate", "lower"]]).encode(y=rows("run"))
    rate = alt.X(
        "win_rate:Q",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1], title="win rate"),
    )
    bound = base.mark_rule(strokeWidth=3, opacity=0.45, yOffset=MARK, aria=False).encode(x="lower:Q", x2="win_rate:Q")
    dots = base.mark_point(filled=True, size=90, opacity=1, yOffset=MARK).encode(
        x=rate, tooltip=["run", "win_rate", "lower"]
    )
    half = alt.Chart(pd.DataFrame({"even": [0.5]})).mark_rule(strokeDash=[3, 3], aria=False).encode(x="even:Q")
    chart = (half + bound + dots + labels(base, "run")).properties(height=ROW * len(table))
    return finished(chart, "Win rate of each run against the untuned model, and its one-sided 95% lower bound")


def histogram(before: Sequence[float], after: Sequence[float], title: str) -> Spec:
    """Draw the distributions of two samples over the same bins, with a line at each mean.

    Args:
        before: values of the untuned model.
        after: values of the tuned model.
        title: of the chart, for a screen reader.
    """
    import numpy as np

    sides = {UNTUNED: np.asarray(before, float), TUNED: np.asarray(after, float)}
    edges = np.histogram_bin_edges(np.concatenate(list(sides.values())), bins=24)
    bars = pd.concat(
        pd.DataFrame({"model": side, "from": edges[:-1], "to": edges[1:], "count": np.histogram(values, edges)[0]})
        for side, values in sides.items()
    )
    means = pd.DataFrame({"model": list(sides), "mean": [values.mean() for values in sides.values()]})
    x = alt.X("from:Q", bin="binned", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, tickCount=5, grid=False))
    counts = (
        alt.Chart(bars)
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(x=x, x2="to:Q", y=alt.Y("count:Q", stack=None, axis=None), color=SIDES)
    )
    lines = alt.Chart(means).mark_rule(strokeWidth=2, aria=False).encode(x="mean:Q", color=SIDES)
    return finished((counts + lines).properties(height=110), title)


def before_after(names: Sequence[str], before: Sequence[float], after: Sequence[float], title: str) -> Spec:
    """Draw a row for each name: a dot before tuning, a dot after it, and a line between them.

    Args:
        names: of the rows.
        before: values of the untuned model, one for each name.
        after: values of the tuned model, one for each name.
        title: of the chart, for a screen reader.
    """
    y = rows("name")
    wide = pd.DataFrame({"name": names, UNTUNED: before, TUNED: after})
    long = wide.melt("name", var_name="model", value_name="value")
    link = alt.Chart(wide).mark_rule(strokeWidth=3, opacity=0.45, yOffset=MARK, aria=False)
    x = alt.X("value:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, tickCount=5))
    dots = alt.Chart(long).mark_point(filled=True, size=90, opacity=1, yOffset=MARK).encode(y=y, x=x, color=SIDES)
    chart = link.encode(y=y, x=f"{UNTUNED}:Q", x2=f"{TUNED}:Q") + dots + labels(alt.Chart(wide).encode(y=y), "name")
    return finished(chart.properties(height=ROW * len(names)), title)


def curves(metrics: pd.DataFrame, columns: Sequence[str], title: str) -> Spec:
    """Draw a line over the training steps for each of these columns.

    Args:
        metrics: a row for each step, with a column `step`.
        columns: which of its columns are drawn.
        title: of the chart, for a screen reader.
    """
    long = metrics[["step", *columns]].melt("step", var_name="figure", value_name="value").dropna()
    ticks = metrics["step"].tolist()[:: -(-len(metrics) // TICKS)]
    x = alt.X("step:Q", axis=alt.Axis(values=ticks, format="d", title="step", grid=False))
    y = alt.Y("value:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, tickCount=4))
    chart = alt.Chart(long).mark_line(point=True).encode(x=x, y=y)
    if len(columns) > 1:
        chart = chart.encode(color=alt.Color("figure:N", sort=None, legend=alt.Legend(title=None, columns=1)))
    return finished(chart.properties(height=150), title)


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
