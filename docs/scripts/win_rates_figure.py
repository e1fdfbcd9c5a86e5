"""Draw the win rates of the committed quick benchmark as docs/assets/win-rates.svg.

    python docs/scripts/win_rates_figure.py

The picture has no background, and greys and blues that are readable on white and on black pages alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from generated import ROOT, win_rates

if TYPE_CHECKING:
    import pandas as pd

FIGURE = ROOT / "docs" / "assets" / "win-rates.svg"
NAMES = {
    "aesthetics-degradation": "freedom from damage",
    "clap-score": "CLAP score",
    "vendi": "diversity (Vendi)",
    "per-song-fad": "FAD of each clip",
    "dataset-fad": "FAD of the set",
}
INK, BAR, CHANCE = "#767676", "#2f81f7", "#c2410c"
LEFT, RIGHT, TOP, ROW = 330, 60, 76, 26  # pixels: labels, percentages, title and axis, a bar with its gap
WIDTH, THICK = 880, 14
SCALE = WIDTH - LEFT - RIGHT  # pixels of 100%


def label(served: str) -> str:
    """Return a reward's name in words, as in "FAD of the set, clap, airs"."""
    reduction, _, place = served.partition(":")
    encoder, _, exemplar_set = place.partition("@")
    return ", ".join(filter(None, [NAMES[reduction], encoder, exemplar_set]))


def text(x: float, y: float, words: str, anchor: str = "start", more: str = "") -> str:
    """Return a text element."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def bar(place: int, row: pd.Series) -> str:
    """Return a reward's label, its bar, the line from its lower bound to its win rate, and its percentage."""
    y = TOP + place * ROW
    middle, end, low = y + THICK / 2, LEFT + SCALE * row["win_rate"], LEFT + SCALE * row["lower"]
    return "\n".join(
        [
            text(LEFT - 10, middle + 5, label(row["served"]), "end"),
            f'<rect x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{THICK}" rx="2" fill="{BAR}"/>',
            f'<path d="M{low:.1f} {middle:g}H{end:.1f}M{low:.1f} {y + 2}v{THICK - 4}" stroke="{INK}"/>',
            text(end + 8, middle + 5, f"{row['win_rate']:.0%}"),
        ]
    )


def figure(wins: pd.DataFrame) -> str:
    """Return the picture of a table of win rates, in the order of the table."""
    height = TOP + ROW * len(wins) + 10
    half, size = LEFT + SCALE / 2, f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="15" fill="{INK}">',
            f"<title>Win rates of {len(wins)} tuned models over the untuned one</title>",
            text(LEFT, 22, "How often the tuned model wins by its reward", more=' font-size="18" font-weight="bold"'),
            text(LEFT, 44, "preset quick, seed 0; a line begins at the 95% lower bound"),
            text(half, 66, "50%: no difference", "middle", f' fill="{CHANCE}"'),
            *(bar(place, row) for place, (_, row) in enumerate(wins.iterrows())),
            f'<path d="M{half:g} {TOP - 6}V{height - 8}" stroke="{CHANCE}" stroke-width="2" stroke-dasharray="5 4"/>',
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    FIGURE.write_text(figure(win_rates("quick")), encoding="utf-8")
