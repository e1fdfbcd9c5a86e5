"""The one reader of tables and lists: of prompts, captions, metadata, ratings and seeds.

A table has a row for each example, and its columns go by one set of names everywhere: `path` or `file_name`, `prompt`
or `caption` or `text`, `rating`, `seed`, in any case. A list has texts alone. The formats are those of `table_formats`.
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
    from collections.abc import Mapping

WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)  # as many digits as 64 bits have
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MOST = 2**63
EXACT = 2**53  # up to which a float tells every whole number from the next
SUFFIXES = frozenset(FORMATS)


@dataclass(frozen=True)
class Column:
    """A column, which may go by any of its names."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return " or ".join(self.names)


PATH, TEXT = Column(("path", "file_name")), Column(("prompt", "caption", "text"))
RATING, SEED = Column(("rating",)), Column(("seed",))
KNOWN = frozenset(chain.from_iterable(column.names for column in (PATH, TEXT, RATING, SEED)))


@dataclass(frozen=True)
class Row:
    """A row: its number from 1, and what stands in those columns that are known."""

    number: int
    cells: Mapping[str, object]


@dataclass(frozen=True)
class Table:
    """A table or a list as it was read; its values are parsed when they are asked for.

    Attributes:
        path: of the file.
        columns: their names as they stand there; None of a list, whose rows hold texts.
        rows: in order.
    """

    path: Path
    columns: tuple[str, ...] | None
    rows: tuple[Row, ...]

    def where(self, row: Row) -> str:
        """A row, for people."""
        return f"'{self.path}', row {row.number}"

    def has(self, column: Column) -> bool:
        """Whether there is such a column; a list has texts."""
        return column is TEXT if self.columns is None else any(name in column.names for name in self._names)

    def require(self, *columns: Column) -> None:
        """Refuse a table without one of these columns.

        Raises:
            MissingColumnError: says which columns are wanted, and which there are.
        """
        missing = [column for column in columns if not self.has(column)]
        if missing:
            wanted = " and no column ".join(map(str, missing))
            has = (
                "it is a list of texts" if self.columns is None else f"its columns: {', '.join(self.columns) or 'none'}"
            )
            raise MissingColumnError(f"'{self.path}' has no column {wanted}; {has}")

    def text(self, row: Row, column: Column = TEXT) -> str | None:
        """The text in a column, without blanks around it; None where there is none.

        Raises:
            TableError: something else is in it, or two columns of one meaning differ.
        """
        value = self._value(row, column)
        if value is not None and not isinstance(value, str):
            raise TableError(f"{self.where(row)}: {column} is {value!r:.80}; write a text")
        return value

    def require_text(self, row: Row, column: Column = TEXT) -> str:
        """`text`, where there has to be one; raises TableError."""
        text = self.text(row, column)
        if text is None:
            raise TableError(f"{self.where(row)}: no text in column {column}; fill it, or remove the row")
        return text

    def number(self, row: Row, column: Column) -> float | None:
        """The finite number in a column; None where there is none; raises TableError."""
        value = self._value(row, column)
        if isinstance(value, str) and NUMBER.fullmatch(value):
            value = float(value)
        if value is None or (isinstance(value, float) and isfinite(value)):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST:
            return value
        raise TableError(f"{self.where(row)}: {column} {value!r:.80} is no finite number; write one, as in 3.5")

    def whole(self, row: Row, column: Column) -> int | None:
        """The whole number in a column; None where there is none; raises TableError."""
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
        """The row of each file; paths are relative to the table's own folder, and come back as `located`.

        Raises:
            TableError: there is no column of paths, a row has none, or a path is listed twice.
        """
        self.require(PATH)
        found: dict[Path, Row] = {}
        folders = cache(Path.resolve)
        for row in self.rows:
            name = self.require_text(row, PATH)
            if "\0" in name:
                raise TableError(f"{self.where(row)}: {PATH} {name!r:.80} is no path")
            path = self.path.parent / name
            before = found.setdefault(folders(path.parent) / path.name, row)
            if before is not row:
                raise TableError(f"{self.where(row)}: '{name}' is listed in row {before.number}, too; keep one of them")
        return found

    @property
    def _names(self) -> list[str]:
        return [plain(name) for name in self.columns or ()]

    def _value(self, row: Row, column: Column) -> object:
        """What stands in a column, whichever of its names it goes by; None where it is blank."""
        cells = {name: _stripped(row.cells.get(name)) for name in column.names}
        held = {name: value for name, value in cells.items() if value is not None}
        if len({repr(value) for value in held.values()}) > 1:
            raise TableError(f"{self.where(row)}: {' and '.join(held)} are not the same; keep one of these columns")
        return next(iter(held.values()), None)


def _stripped(value: object) -> object:
    """A text without blanks around it, nor byte order marks, which joined files have inside; None for nothing."""
    return value.strip().strip("\ufeff").strip() or None if isinstance(value, str) else value


def located(path: Path) -> Path:
    """A path by which files are told apart: links to folders are followed, one to the file itself is not."""
    return path.parent.resolve() / path.name


def read_table(path: Path) -> Table:
    """Read a table or a list.

    Raises:
        TableError: it is missing, of another format or encoding, or malformed, as by a row with more cells than the
            header.
    """
    content = read_content(path, KNOWN)
    if content.columns is None:
        return Table(path, None, tuple(Row(number, {TEXT.names[0]: text}) for number, text in content.rows))
    return Table(path, content.columns, tuple(Row(number, cells) for number, cells in content.rows))


def read_texts(path: Path) -> list[str]:
    """The prompts or captions of a list or a table, in order.

    Raises:
        TableError: it cannot be read, has no column of texts, lacks one in a row, or holds none at all.
    """
    table = read_table(path)
    table.require(TEXT)
    texts = [table.require_text(row) for row in table.rows]
    if not texts:
        raise TableError(f"'{path}' holds no prompt; write one per line")
    return texts
