"""CSV files that are safe in a spreadsheet: no text runs as a formula there, and all text is read back unchanged.

A spreadsheet takes a cell that begins with `= + - @`, a tab or a carriage return for a formula; an apostrophe before it
makes it text (OWASP, "CSV Injection"). So that nothing is lost, a cell that begins with apostrophes followed by one of
these characters gets one more apostrophe. Numbers stay numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.storage.files import write_text

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

T = TypeVar("T")

LIVE, GUARDED = re.compile(r"'*[=+\-@\t\r]"), re.compile(r"'+[=+\-@\t\r]")


def guarded(cell: T) -> T | str:
    """Return a cell as it is written to a CSV file: with an apostrophe before text that a spreadsheet would run.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("a jig"), guarded(-1.5)
    ("'=1+1", "''=1+1", 'a jig', -1.5)
    """
    return f"'{cell}" if isinstance(cell, str) and LIVE.match(cell) else cell


def unguarded(cell: T) -> T | str:
    """Return a cell that was read from a CSV file as it was before `guarded`.

    >>> unguarded("'=1+1"), unguarded("''=1+1"), unguarded("'tis a jig"), unguarded(-1.5)
    ('=1+1', "'=1+1", "'tis a jig", -1.5)
    """
    return cell[1:] if isinstance(cell, str) and GUARDED.match(cell) else cell


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in full precision, without its index; raises as `files.replacing`."""
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    columns = {guarded(name): cells if is_numeric_dtype(cells) else cells.map(guarded) for name, cells in table.items()}
    write_text(path, pd.DataFrame(columns).to_csv(index=False))
