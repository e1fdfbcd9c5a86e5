"""Draw what blends gain against what they cost, as SVG; the same table gives the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_train.bench.ablation.figures import COLOURS, INK, MARKERS, canvas_of, save, styled
from dragon_train.blend.columns import KIND, REWARD, SHARE, WORDS
from dragon_train.blend.fronts import fallen, taxes_of

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

OFFSET = (5, 4)  # points from a marker to its share
SMALL = 7  # points, of letters


def write_fronts(path: Path, table: pd.DataFrame) -> None:
    """Draw a panel for each tax, over the reward: filled markers are on the front, which a dotted line joins.

    Args:
        path: the file to write.
        table: what `fronts.table_of` returned, with at least one tax.
    """
    taxes = taxes_of(table)
    with styled():
        canvas, places = canvas_of(len(taxes))
        for axes, tax in zip(places, taxes, strict=True):
            draw(axes, table.assign(fallen=fallen(table, tax)), tax)
        canvas.legend(*places[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        save(canvas, path)


def draw(axes: Any, table: pd.DataFrame, tax: str) -> None:
    """Draw one tax over the reward, a colour and a marker for each kind of blend, each point with its mean share."""
    front = table[~table["fallen"]].sort_values(REWARD)
    axes.plot(front[REWARD], front[tax], color=INK, linestyle=":", label="front")
    for index, (kind, rows) in enumerate(table.groupby(KIND, sort=False)):
        style = {"color": COLOURS[index], "marker": MARKERS[index], "linestyle": "none"}
        kept, beaten = rows[~rows["fallen"]], rows[rows["fallen"]]
        axes.plot(kept[REWARD], kept[tax], label=str(kind), **style)
        axes.plot(beaten[REWARD], beaten[tax], markerfacecolor="none", **style)
    for row in table.to_dict("records"):
        place = (row[REWARD], row[tax])
        axes.annotate(f"{row[SHARE]:g}", place, OFFSET, textcoords="offset points", fontsize=SMALL)
    axes.set_xlabel(WORDS[REWARD])
    axes.set_ylabel(WORDS[tax])
