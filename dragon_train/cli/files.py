"""The CSV file that verbs which score files write: its check before the long work, and its rows after it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RATING = "rating"  # a column that people fill in, no command


def check_csv(csv: Path | None, column: str) -> None:
    """Refuse a CSV file that cannot be written, or holds what no command can write again, before the long work.

    Args:
        csv: the file; None for none.
        column: a column that the verb writes, by which a table that it wrote before is known, and is replaced.

    Raises:
        DragonError: it cannot be written, or there is another table: of prompts, or with ratings.
    """
    if csv:
        from dragon_rewards.storage.files import check_file

        check_file(csv, "--csv")
        if csv.exists() and csv.stat().st_size:
            _check_own(csv, column)


def _check_own(csv: Path, column: str) -> None:
    with csv.open(encoding="utf-8-sig", errors="replace") as file:
        names = [name.strip(' "').lower() for name in file.readline().strip().split(",")]
    if column not in names or RATING in names:
        fault = f"no column {column}, which this command writes" if column not in names else "ratings"
        raise DragonError(f"'{csv}' is there and has {fault}; give --csv another path, or move the file")


def write_csv(csv: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with equal keys to a CSV file, every digit of them; nothing is written if there is no file.

    The rows were printed before: standard output is flushed first, so that they are seen whatever happens to the file.
    """
    if csv:
        import pandas as pd

        from dragon_rewards.storage.files import write_csv as write_table

        sys.stdout.flush()
        cells = [{key: _escaped(value) for key, value in row.items()} for row in rows]
        write_table(csv, pd.DataFrame(cells))


def _escaped(value: Any) -> Any:
    """Return a text as UTF-8 can hold it: bytes of file names that are none are escaped, as where they are printed."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
