"""Writing of results: tables as CSV and Markdown, data frames as parquet; each file appears whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.storage.files import replacing, write_csv, write_text

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a data frame to a parquet file, without its index; raises as `files.replacing`."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_table(stem: Path, table: pd.DataFrame) -> None:
    """Write a table as `<stem>.csv` in full precision and as `<stem>.md` in four digits.

    A named index becomes the first column. Cells without a value are empty.
    """
    flat = table.reset_index() if table.index.name else table
    write_csv(stem.with_name(f"{stem.name}.csv"), flat)
    text = known(flat).to_markdown(index=False, floatfmt=".4g", missingval="")
    write_text(stem.with_name(f"{stem.name}.md"), f"{text}\n")


def known(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with None for figures that are missing, which neither JSON nor people read as NaN."""
    return table.astype(object).where(table.notna(), None)
