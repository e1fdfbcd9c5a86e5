"""Draw the win rates of the committed benchmark, means over its seeds, as docs/assets/win-rates.svg.

    python docs/scripts/win_rates_figure.py

The picture has no background, and greys and blues that are readable on white and on black pages alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from generated import ROOT, seeds

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
INK, BAR, CHANCE, BETWEEN = "#7A7F87", "#2f81f7", "#d1571b", "#9fb8d9"
TOP, ROW, WIDTH, RIGHT = 86, 38, 540, 60  # pixels: title and axis, a label with its bar, the whole, percentages
DROP, THICK = 6, 12  # from a label down to its bar; of a bar
SCALE = WIDTH - RIGHT  # pixels of 100%


def label(served: str) -> str:
    """Return a reward's name in words, as in "FAD of the set, clap, airs"."""
    reduction, _, place = served.partition(":")
    encoder, _, exemplar_set = place.partition("@")
    return ", ".join(filter(None, [NAMES[reduction], encoder, exemplar_set]))


def text(x: float, y: float, words: str, more: str = "") -> str:
    """Return a text element."""
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(words)}</text>'


def bar(place: int, row: pd.Series) -> str:
    """Return a reward's label, its bar, across its end a line of a standard deviation each way, and its percentage."""
    y = TOP + place * ROW + DROP
    middle, end = y + THICK / 2, SCALE * row["win_rate"]
    low, high = (SCALE * min(max(row["win_rate"] + side * row["win_rate_sd"], 0), 1) for side in (-1, 1))
    return "\n".join(
        [
            text(0, y - DROP, label(row["served"])),
            f'<rect y="{y}" width="{end:.1f}" height="{THICK}" rx="2" fill="{BAR}"/>',
            f'<path d="M{low:.1f} {middle:g}H{high:.1f}" stroke="{BETWEEN}" stroke-width="3" opacity="0.8"/>',
            text(max(end, high) + 8, middle + 5, f"{row['win_rate']:.0%}"),
        ]
    )


def figure(wins: pd.DataFrame) -> str:
    """Return the picture of a table of win rates, in the order of the table."""
    height = TOP + ROW * len(wins)
    half, size = SCALE / 2, f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
    dashes = f'stroke="{CHANCE}" stroke-width="1.5" stroke-dasharray="5 4"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="15" fill="{INK}">',
            f"<title>Win rates of {len(wins)} tuned models over the untuned one</title>",
            text(0, 20, "How often the tuned model wins by its reward", more=' font-size="18" font-weight="bold"'),
            text(0, 42, "preset quick, three seeds; lines: a standard deviation each way"),
            text(half, 64, "50%: no difference", more=f' fill="{CHANCE}"'),
            f'<path d="M{half:g} 68V{height - ROW + THICK + DROP + 6}" {dashes}/>',
            *(bar(place, row) for place, (_, row) in enumerate(wins.iterrows())),
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    FIGURE.write_text(figure(seeds()), encoding="utf-8")
