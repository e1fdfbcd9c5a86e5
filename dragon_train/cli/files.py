"""The CSV file that verbs which score files write: its check before the long work, and its rows after it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def check_csv(csv: Path | None) -> None:
    """Refuse a CSV file that cannot be written, before the long work.

    Raises:
        DragonError: it cannot be written.
    """
    if csv:
        from dragon_rewards.storage.files import check_file

        check_file(csv, "--csv")


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
