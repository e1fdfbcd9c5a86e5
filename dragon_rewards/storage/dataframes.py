"""Reading of data frames from parquet and CSV files, with checks that needed columns exist and have their types."""

from __future__ import annotations

import csv
from enum import Enum
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import read_bytes
from dragon_rewards.storage.files import unguarded
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_ROWS = 10**7  # the most rows of a parquet file: a full benchmark has some 100,000


class Column(Enum):
    """What the cells of a column of a data frame must be."""

    TEXT = "texts"
    NUMBER = "finite numbers"
    ANYTHING = "cells"
    FIGURE = "numbers"  # empty where nothing was measured, infinite where a norm overflowed


def read_parquet(path: Path, columns: Mapping[str, Column], remedy: str) -> pd.DataFrame:
    """Read the data frame in a parquet file.

    Args:
        path: the file.
        columns: the columns that it must have, with what they hold; it may have others.
        remedy: what to do if it cannot be read, as the end of a sentence.

    Raises:
        DragonError: the file is missing, no parquet file or too long, or a column is missing or has another type.
    """
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            rows = file.metadata.num_rows
        frame = pd.read_parquet(path) if rows <= MOST_ROWS else None
    except Exception as error:  # Arrow's errors, and Python's for what a broken schema names
        raise DragonError(f"'{path}' cannot be read ({_said(error)}); {remedy}") from error
    if frame is None:
        raise DragonError(f"'{path}' claims {rows:,} rows, and no file of its kind has as many; {remedy}")
    return _checked(frame, columns, path, remedy)


def read_csv(path: Path, columns: Mapping[str, Column], remedy: str, *, rest: Column | None = None) -> pd.DataFrame:
    """Read the data frame in a CSV file with a header.

    Args:
        path: the file.
        columns: the columns that it must have, with what they hold; it may have others.
        remedy: what to do if it cannot be read, as the end of a sentence.
        rest: what all other columns hold; None if that does not matter.

    Raises:
        DragonError: the file is missing or no CSV file, a column is missing, has another type or comes twice, or a row
            has more or fewer cells than the header.
    """
    content = read_bytes(path, remedy)
    try:
        text = content.decode("utf-8")
        header, *rows = [row for row in csv.reader(StringIO(text, newline=""), strict=True) if row]
        frame = pd.read_csv(StringIO(text)).map(unguarded).rename(columns=unguarded)
    except Exception as error:  # errors of csv and pandas, and Python's for an empty file
        raise DragonError(f"'{path}' cannot be read ({_said(error)}); {remedy}") from error
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DragonError(
                f"'{path}': row {number} has {counted(len(row), 'cell')} under {counted(len(header), 'column')}; "
                f"{remedy}"
            )
    if len(set(header)) != len(header):
        raise DragonError(f"'{path}' has a column twice: {', '.join(header)}; {remedy}")
    others = dict.fromkeys(map(str, frame.columns), rest) if rest else {}
    return _checked(frame, {**others, **columns}, path, remedy)


def _checked(frame: pd.DataFrame, columns: Mapping[str, Column], path: Path, remedy: str) -> pd.DataFrame:
    for name, column in columns.items():
        if name not in frame.columns:
            found = ", ".join(map(str, frame.columns))
            raise DragonError(f"'{path}' has no column '{name}', only {found or 'none'}; {remedy}")
        try:
            fits = _holds(frame[name], column)
        except UnicodeDecodeError as error:  # texts of parquet are decoded when they are accessed
            raise DragonError(f"'{path}': column '{name}' is not in UTF-8 ({error}); {remedy}") from error
        if not fits:
            raise DragonError(f"'{path}': column '{name}' must hold {column.value}; {remedy}")
    return frame


def _holds(cells: pd.Series, column: Column) -> bool:
    values = list(cells)  # decodes texts
    if column is Column.ANYTHING:
        return True
    if column is Column.TEXT:
        return all(isinstance(value, str) for value in values)
    if not pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells):
        return column is Column.FIGURE and bool(cells.isna().all())
    return column is Column.FIGURE or bool(np.isfinite(cells.to_numpy(dtype=np.float64, na_value=np.nan)).all())


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
