"""Draw the figures of an ablation as SVG; the same frame gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.files import replacing
from dragon_train.bench.ablation.tables import shown_rows, summary

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas
except ModuleNotFoundError as error:
    raise DragonError(f'figures need {error.name}: pip install "dragon-rewards[reports]"') from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pandas as pd

    from dragon_train.bench.ablation.grid import Figure

# Okabe and Ito, with a grey for their black: figures are shown on light and on dark pages.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8A8A", "#F0E442")
INK = "#7A7F87"  # of text and axes: a contrast of 4 to 1 on white, and of 4.7 on #1E2129
MARKERS = "osD^vPX*"  # colours are not the only difference
PANEL, ACROSS, LEGEND = (4.2, 2.8), 2, 0.5  # inches; panels in a row; inches
CHANCE = 0.5  # a win rate that shows nothing
BINS = 24
WORDS = {  # of columns whose names say too little on an axis
    "after": "metric after tuning",
    "chunks": "chunks of a clip",
    "demonstration_steps": "diffusion steps of training clips",
    "gain": "gain of the metric",
    "inference_steps": "diffusion steps of judged clips",
    "pool": "earlier steps in the pool",
    "scored": "judged by",
    "size": "clips in a set",
    "srcc_per_prompt": "rank correlation",
    "tercile": "third of the untuned values",
    "value": "estimate of the metric",
}
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "svg.hashsalt": "dragon",
    "svg.fonttype": "none",
}


def write_figure(path: Path, frame: pd.DataFrame, figure: Figure) -> None:
    """Draw one figure of a grid and write it to `path` as SVG.

    Args:
        path: file to write.
        frame: the long frame that the figure names in `figure.frame`.
        figure: what is drawn, and how.
    """
    with styled():
        panels = list(panels_of(shown_rows(frame, figure), figure))
        canvas, places = canvas_of(len(panels))
        for (title, rows), axes in zip(panels, places, strict=True):
            DRAW[figure.kind](axes, rows, figure)
            axes.set_title(title, fontsize=9)
        legend(canvas, places[0], figure)
        save(canvas, path)


def styled() -> AbstractContextManager[None]:
    """Return a context in which what is drawn looks like all figures."""
    context: AbstractContextManager[None] = mpl.rc_context(STYLE)
    return context


def canvas_of(panels: int) -> tuple[Canvas, list[Any]]:
    """Return a canvas with room for a legend above its panels, and the axes of each panel."""
    across = min(panels, ACROSS)
    down = -(-panels // across)
    canvas = Canvas((PANEL[0] * across, PANEL[1] * down + LEGEND), layout="constrained")
    return canvas, [canvas.add_subplot(down, across, number + 1) for number in range(panels)]


def save(canvas: Canvas, path: Path) -> None:
    """Write a canvas as SVG, without the date, to a file that appears whole or not at all."""
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="svg", metadata={"Date": None})


def legend(canvas: Canvas, axes: Any, figure: Figure) -> None:
    """Draw one legend for all panels, above them, from the labels of the first panel; none where it has no labels."""
    handles, labels = axes.get_legend_handles_labels()
    if any(labels):
        title = words(figure.series) or None
        canvas.legend(handles, labels, title=title, loc="outside upper center", ncols=3, frameon=False, fontsize=8)


def panels_of(rows: pd.DataFrame, figure: Figure) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the title and the rows of each panel; all rows without a title where the figure has no panels."""
    if not figure.panels:
        yield "", rows
        return
    for value, group in rows.groupby(figure.panels, sort=False, observed=True):
        yield str(value), group


def series_of(rows: pd.DataFrame, figure: Figure) -> list[tuple[str, pd.DataFrame]]:
    """Return the label and the summary over seeds (`tables.summary`) of each series; a lone series has no label."""
    keys = [figure.series, figure.x[0]] if figure.series else [figure.x[0]]
    stats = summary(rows, keys, figure.y)
    if not figure.series:
        return [("", stats)]
    return [(f"{value}", group) for value, group in stats.groupby(figure.series, sort=False, observed=True)]


def line(axes: Any, rows: pd.DataFrame, figure: Figure) -> None:
    """Draw the means of y over a numeric x, a line for each series; error bars are the standard deviation over seeds.

    The x axis is logarithmic, with base 2, where all x are positive and the largest is more than four times the
    smallest.
    """
    for index, (name, stats) in enumerate(series_of(rows, figure)):
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "capsize": 3}
        axes.errorbar(stats[figure.x[0]], stats["mean"], stats["sd"].fillna(0), label=name, **style)
    xs = np.unique(rows[figure.x[0]])
    if xs.min() > 0 and xs.max() / xs.min() > 4:  # noqa: PLR2004  three doublings are even steps on a logarithmic axis
        axes.set_xscale("log", base=2)
    axes.set_xticks(xs, [f"{x:g}" for x in xs])
    axes.minorticks_off()
    finish(axes, figure)


def bar(axes: Any, rows: pd.DataFrame, figure: Figure) -> None:
    """Draw the means of y for each named x, a bar for each series; error bars are the standard deviation over seeds."""
    series, names = series_of(rows, figure), list(dict.fromkeys(map(str, rows[figure.x[0]])))
    width = 0.8 / len(series)
    for index, (name, stats) in enumerate(series):
        places = [names.index(str(x)) + (index - (len(series) - 1) / 2) * width for x in stats[figure.x[0]]]
        colour = COLOURS[index % len(COLOURS)]
        axes.bar(
            places,
            stats["mean"],
            width * 0.9,
            yerr=stats["sd"].fillna(0),
            label=name,
            color=colour,
            ecolor=INK,
            capsize=3,
        )
    turned = {"rotation": 30, "ha": "right"} if max(map(len, names)) * len(names) > 40 else {}  # noqa: PLR2004  letters in a panel
    axes.set_xticks(range(len(names)), names, **turned)
    finish(axes, figure)


def finish(axes: Any, figure: Figure) -> None:
    """Label the axes; for win rates, show at least 0 to 1 and draw a dotted line at 0.5, which means no effect."""
    if figure.y == "win_rate":
        axes.axhline(CHANCE, color="0.5", linewidth=1, linestyle=":")
        axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))  # error bars may end above 1
    axes.set_xlabel(words(figure.x[0]))
    axes.set_ylabel(words(figure.y))


def words(column: str) -> str:
    """Return what a column is called on an axis: its entry in `WORDS`, or else its name with spaces."""
    return WORDS.get(column, column.replace("_", " "))


def histogram(axes: Any, rows: pd.DataFrame, figure: Figure) -> None:
    """Draw the outlines of the distributions of several columns over the same bins."""
    edges = np.histogram_bin_edges(rows[list(figure.x)].to_numpy().ravel(), BINS)
    for index, column in enumerate(figure.x):
        style = {"color": COLOURS[index], "linestyle": ("-", "--", ":")[index % 3], "linewidth": 1.5}
        axes.hist(rows[column], edges, histtype="step", label=column, **style)
    axes.set_ylabel("clips")


DRAW = {"line": line, "bar": bar, "histogram": histogram}
