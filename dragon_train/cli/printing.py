"""Print rows as a table for people, which fits a page of 80 columns, or as JSON for machines."""

from __future__ import annotations

import sys
from itertools import zip_longest
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from dragon_rewards.terminal.printable import json_text, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

PAGE = 80  # characters a line, where stdout is no terminal
GAP = 2  # characters between the columns of a table
NARROWEST = 20  # characters below which no text is wrapped
DIGITS = ".4g"
# Digits of what is known better or worse than others: of a share of 192 prompts the third already is noise, a p value
# counts by its size, and a metric has the six of float32.
FIGURES = dict.fromkeys(("win_rate", "lower", "effect", "controlled"), ".3g")
FIGURES |= dict.fromkeys(("p_value", "holm", "permutation_p"), ".2g")
FIGURES |= {"value": ".6g"}


def print_rows(rows: Sequence[Row], *, as_json: bool, wide: bool = False, main: Sequence[str] = ()) -> None:
    """Print rows of equal keys as a table, or as a JSON list of objects.

    Args:
        rows: what is printed; the first key of a row names it.
        as_json: print JSON, with every key and digit.
        wide: print every column; otherwise as many as fit, and on stderr which others there are.
        main: keys in the order of their worth, the most telling first; by default all, in their order.
    """
    if as_json:
        print(json_text(list(rows)))
    elif rows and wide:
        print(_drawn(rows, list(rows[0]), None))
    elif rows:
        kept = _fitting(rows, [key for key in main or rows[0] if key in rows[0]], _room())
        print(_drawn(rows, kept, _room()))
        left = [_header(key) for key in rows[0] if key not in kept and any(row[key] is not None for row in rows)]
        if left:
            print(f"more with --wide: {', '.join(left)}", file=sys.stderr)


def _room() -> int:
    return get_terminal_size().columns if sys.stdout.isatty() else PAGE


def _fitting(rows: Sequence[Row], keys: Sequence[str], room: int) -> list[str]:
    """Return the keys that fit beside each other: the last give way, but never what names a row; all, if none fits."""
    name, kept = next(iter(rows[0])), list(keys)
    while sum(_least(rows, key) for key in kept) + GAP * (len(kept) - 1) > room:
        others = [key for key in kept if key != name]
        if len(others) <= 1:
            return list(keys)
        kept.remove(others[-1])
    return kept


def _cells(rows: Sequence[Row], key: str) -> list[str]:
    """Return the texts of a column, its header first."""
    return [_header(key), *(_cell(key, row[key]) for row in rows)]


def _least(rows: Sequence[Row], key: str) -> int:
    """Return the fewest characters that a column takes: names and figures are whole, text is wrapped between words."""
    header, *cells = _cells(rows, key)
    whole = max(len(header), *map(len, cells))
    if key == next(iter(rows[0])) or not any(" " in cell for cell in cells):
        return whole
    return min(whole, max(NARROWEST, len(header), *(len(word) for cell in cells for word in cell.split())))


def _drawn(rows: Sequence[Row], keys: Sequence[str], room: int | None) -> str:
    widths = [sys.maxsize] * len(keys) if room is None else _widths(rows, keys, room)
    columns = [[_lines(cell, width) for cell in _cells(rows, key)] for key, width in zip(keys, widths, strict=True)]
    taken = [max(len(line) for cell in column for line in cell) for column in columns]
    header, *drawn = [_beside(row, taken) for row in zip(*columns, strict=True)]
    return "\n".join([header, _beside([["-" * width] for width in taken], taken), *drawn])


def _lines(text: str, width: int) -> list[str]:
    return [text] if len(text) <= width else wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _beside(row: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Join the cells of a row, each of one line or several."""
    lines = zip_longest(*row, fillvalue="")
    return "\n".join(
        (" " * GAP).join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _widths(rows: Sequence[Row], keys: Sequence[str], room: int) -> list[int]:
    """Return the width to which each column is wrapped: the widest text first, to what the others leave."""
    least, whole = [_least(rows, key) for key in keys], [max(map(len, _cells(rows, key))) for key in keys]

    def bounded(most: int) -> list[int]:
        return [max(small, min(full, most)) for small, full in zip(least, whole, strict=True)]

    room -= GAP * (len(keys) - 1)
    return bounded(next((most for most in range(max(whole), 0, -1) if sum(bounded(most)) <= room), 0))


def _header(key: str) -> str:
    return key.replace("_", " ")


def _cell(key: str, value: object) -> str:
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    if isinstance(value, float):
        return f"{value:{FIGURES.get(key, DIGITS)}}"  # for reading; --json and --csv keep every digit
    return "" if value is None else printable(str(value))
