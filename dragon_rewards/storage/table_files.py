"""Reading of tables and lists of the user's: of prompts, captions, metadata, ratings and seeds.

A table has a row for each example. Its columns have the same names everywhere: `path` or `file_name`, `prompt` or
`caption` or `text`, `seed`, where clips are rated `rating`, `rater` and `track`, and where they are compared `path_a`,
`path_b` and `preferred`, in upper or lower case. A list holds texts only. `table_formats` reads the file formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import MissingColumnError, TableError
from dragon_rewards.storage.table_formats import FORMATS, plain, read_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)  # 64 bits have at most 19 digits
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MOST = 2**63
EXACT = 2**53  # up to this every whole number is exact as a float
SUFFIXES = frozenset(FORMATS)


@dataclass(frozen=True)
class Column:
    """A column of a table, which may have any of several names."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.names)


PATH, TEXT = Column(("path", "file_name")), Column(("prompt", "caption", "text"))
RATING, SEED = Column(("rating",)), Column(("seed",))
RATER, TRACK = Column(("rater",)), Column(("track",))
PATH_A, PATH_B = Column(("path_a", "file_a")), Column(("path_b", "file_b"))
PREFERRED, KIND = Column(("preferred",)), Column(("kind",))
KNOWN = frozenset(chain.from_iterable(column.names for column in (PATH, TEXT, RATING, SEED, RATER, TRACK)))


@dataclass(frozen=True)
class Row:
    """A row of a table, with its number and its known cells.

    Attributes:
        number: its number in the file, from 1.
        cells: the values of the columns that are known, by plain name.
    """

    number: int
    cells: Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """A table or a list as it was read; its values are parsed when they are asked for.

    Attributes:
        path: the file.
        columns: the names of the columns as the file has them; None for a list, whose rows hold texts.
        rows: the rows, in the order of the file.
    """

    path: Path
    columns: tuple[str, ...] | None
    rows: tuple[Row, ...]

    def where(self, row: Row) -> str:
        """Return the file and the number of a row as text for error messages."""
        return f"'{self.path}', row {row.number}"

    def has(self, column: Column) -> bool:
        """Return whether the table has this column; a list has a column of texts."""
        return column is TEXT if self.columns is None else any(name in column.names for name in self._names)

    def require(self, *columns: Column) -> None:
        """Refuse a table that lacks one of these columns.

        Raises:
            MissingColumnError: a column is missing; the message lists the wanted columns, and the columns of the table.
        """
        missing = [column for column in columns if not self.has(column)]
        if missing:
            wanted = " and no column ".join(map(str, missing))
            has = (
                "it is a list of texts" if self.columns is None else f"its columns: {', '.join(self.columns) or 'none'}"
            )
            raise MissingColumnError(f"'{self.path}' has no column {wanted}; {has}")

    def text(self, row: Row, column: Column = TEXT) -> str | None:
        """Return the text in a column of a row, without surrounding blanks; None if the cell is empty.

        Raises:
            TableError: the cell holds something else, or two columns of the same meaning differ.
        """
        value = self._value(row, column)
        if value is not None and not isinstance(value, str):
            raise TableError(f"{self.where(row)}: {column} is {value!r:.80}; write a text")
        return value

    def require_text(self, row: Row, column: Column = TEXT) -> str:
        """Return the text in a column of a row, without surrounding blanks.

        Raises:
            TableError: the cell is empty or holds something else, or two columns of the same meaning differ.
        """
        text = self.text(row, column)
        if text is None:
            raise TableError(f"{self.where(row)}: no text in column {column}; fill it, or remove the row")
        return text

    def number(self, row: Row, column: Column) -> float | None:
        """Return the finite number in a column of a row; None if the cell is empty.

        Raises:
            TableError: the cell holds something else, or two columns of the same meaning differ.
        """
        value = self._value(row, column)
        if isinstance(value, str) and NUMBER.fullmatch(value):
            value = float(value)
        if value is None or (isinstance(value, float) and isfinite(value)):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST:
            return value
        raise TableError(f"{self.where(row)}: {column} {value!r:.80} is no finite number; write one, as in 3.5")

    def whole(self, row: Row, column: Column) -> int | None:
        """Return the whole number in a column of a row; None if the cell is empty.

        Raises:
            TableError: the cell holds something else, or two columns of the same meaning differ.
        """
        value = self._value(row, column)
        if isinstance(value, str) and WHOLE.fullmatch(value):
            return int(value)
        number = self.number(row, column)
        if number is None or isinstance(number, int):
            return number
        if number.is_integer() and abs(number) <= EXACT:
            return int(number)
        raise TableError(f"{self.where(row)}: {column} {value!r:.80} is no whole number; write one, as in 7")

    def by_path(self) -> dict[Path, Row]:
        """Return the row of each file, by its path as `located` returns it.

        The table's paths are relative to the folder of the table.

        Raises:
            TableError: there is no column of paths, a row has no path, or a path is listed twice.
        """
        self.require(PATH)
        found: dict[Path, Row] = {}
        for row, path in zip(self.rows, self.paths(self.rows), strict=True):
            before = found.setdefault(path, row)
            if before is not row:
                name = self.text(row, PATH)
                raise TableError(f"{self.where(row)}: '{name}' is listed in row {before.number}, too; keep one of them")
        return found

    def paths(self, rows: Iterable[Row], column: Column = PATH) -> list[Path]:
        """Return the path in each of the rows, as `located` returns it; the table's paths are relative to its folder.

        Raises:
            TableError: a row has no path.
        """
        folders, found = cache(Path.resolve), []
        for row in rows:
            name = self.require_text(row, column)
            if "\0" in name:
                raise TableError(f"{self.where(row)}: {column} {name!r:.80} is no path")
            path = self.path.parent / name
            found.append(folders(path.parent) / path.name)
        return found

    @property
    def _names(self) -> list[str]:
        return [plain(name) for name in self.columns or ()]

    def _value(self, row: Row, column: Column) -> object:
        """Return the value in a column of a row, whichever of its names the column has; None if the cell is blank."""
        cells = {name: _stripped(row.cells.get(name)) for name in column.names}
        held = {name: value for name, value in cells.items() if value is not None}
        if len({repr(value) for value in held.values()}) > 1:
            raise TableError(f"{self.where(row)}: {' and '.join(held)} are not the same; keep one of these columns")
        return next(iter(held.values()), None)


def _stripped(value: object) -> object:
    """Return a value without surrounding blanks; None for blank text.

    Byte order marks count as blanks, as files that were joined have them inside.
    """
    return value.strip().strip("\ufeff").strip() or None if isinstance(value, str) else value


def located(path: Path) -> Path:
    """Return the path by which a file is told apart: links to folders are followed, a link to the file is not."""
    return path.parent.resolve() / path.name


def read_table(path: Path, further: frozenset[str] = frozenset()) -> Table:
    """Read a table or a list from a file.

    Args:
        path: the file.
        further: plain names of columns whose cells are read beside the known ones.

    Raises:
        TableError: the file is missing, of another format or encoding, or malformed, as by a row with more cells than
            the header.
    """
    content = read_content(path, KNOWN | further)
    if content.columns is None:
        return Table(path, None, tuple(Row(number, {TEXT.names[0]: text}) for number, text in content.rows))
    return Table(path, content.columns, tuple(Row(number, cells) for number, cells in content.rows))


def read_texts(path: Path) -> list[str]:
    """Read the prompts or captions of a list or a table, in order.

    Raises:
        TableError: the file cannot be read, has no column of texts, has a row without text, or holds no texts at all.
    """
    return texts_of(read_table(path))


def texts_of(table: Table) -> list[str]:
    """Return the prompts or captions of a list or a table, in order.

    Raises:
        TableError: there is no column of texts, a row without text, or there are no texts at all.
    """
    table.require(TEXT)
    texts = [table.require_text(row) for row in table.rows]
    if not texts:
        raise TableError(f"'{table.path}' holds no prompt; write one per line")
    return texts
