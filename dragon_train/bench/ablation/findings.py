"""Fill what a person wrote of an ablation with the figures of its tables, so that words cannot disagree with them.

In `findings.md` a figure is written as its place: `{win_rate: kto, unpaired, clap-score:clap | .0%}` is the mean in the
row of `win_rate.csv` that holds these three values, in their order, before its mean; `{win_rate.sd: ...}` is another
column of that row.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.dataframes import read_csv
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

FINDINGS = "findings.md"  # written by a person
PLACE = re.compile(r"\{(?P<table>[\w-]+)(?:\.(?P<column>\w+))?: (?P<keys>[^{}|]+) \| (?P<form>[^{}]+)\}")
REMEDY = "run the ablation again"


def findings(folder: Path) -> str:
    """Return what a person wrote of the results in `findings.md`, with its figures; an empty text if nobody did.

    Raises:
        DragonError: a place is none of a table, or of several rows, or a table cannot be read.
    """
    path = folder / FINDINGS
    return PLACE.sub(lambda place: _figure(path, place), path.read_text("utf-8").strip()) if path.exists() else ""


def _figure(path: Path, place: re.Match[str]) -> str:
    table = read_csv(path.parent / f"{place['table']}.csv", {}, REMEDY)
    column, keys = place["column"] or "mean", place["keys"].split(", ")
    rows = [row for row in table.to_dict("records") if _holds(row, keys)]
    if len(rows) != 1 or column not in table or pd.isna(rows[0][column]):
        raise DragonError(
            f"'{path}': {place[0]} is {counted(len(rows), 'row')}, or no figure; name one row and a column of it"
        )
    try:
        return format(rows[0][column], place["form"])
    except ValueError as error:
        raise DragonError(f"'{path}': {place[0]} has no form of a number ({error}); write one such as .0%") from None


def _holds(row: dict[Hashable, Any], keys: list[str]) -> bool:
    values = takewhile(lambda column: column != "mean", row)  # of the axes; the number of seeds is none of them
    rest = map(str, (row[column] for column in values))
    return all(key in rest for key in keys)  # `in` reads on from where the last key was found
