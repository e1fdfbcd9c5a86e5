"""Formats of tables and lists: a file's bytes become numbered rows, or an error that names the file and the row.

Text is UTF-8, with or without a byte order mark. Lines end at LF or CRLF only; other characters at which Unicode
separates lines (U+0085, U+2028, form feeds) are part of the text.
"""

from __future__ import annotations

import csv
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError, TableError
from dragon_rewards.storage.decoding import decode_json, read_bytes
from dragon_rewards.storage.files import unguarded
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

Numbered = tuple[int, Any]  # the number of a row, from 1, and what is in it
Wanted = frozenset[str] | None  # plain names of the columns that are kept; None for all

KINDS = "TXT, CSV, TSV, JSON, JSONL or parquet"
REMEDY = f"give a table or a list as {KINDS}"
MARKS = {  # the longer ones first: UTF-16's begins UTF-32's
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}
LONE = "a carriage return without line feed; save it with lines that end at LF or CRLF"


@dataclass(frozen=True)
class Content:
    """The columns and rows that a file holds.

    Attributes:
        columns: the names of the columns as the file has them; None for a list.
        rows: the number of each row, with the texts of a list, or with the wanted cells of a table by plain name.
            Numbers count from 1 below the header; blank rows are counted, and left out.
    """

    columns: tuple[str, ...] | None
    rows: tuple[Numbered, ...]


def read_content(path: Path, wanted: Wanted = None) -> Content:
    """Read a table or a list, in the format that the suffix of the file names.

    Args:
        path: the file.
        wanted: plain names of the columns to keep; None for all.

    Raises:
        TableError: the file is missing, of another format or encoding, or malformed.
    """
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise TableError(f"'{path}' has the suffix '{path.suffix}', which no table or list has; {REMEDY}")
    return reader(path, wanted)


def plain(name: str) -> str:
    """Return the name of a column without surrounding blanks and in lower case, as columns are looked up."""
    return name.strip().lower()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, without its byte order mark.

    Raises:
        TableError: the file cannot be read, or is in another encoding.
    """
    try:
        content = read_bytes(path, REMEDY)
    except DragonError as error:
        raise TableError(str(error)) from error
    kind = next((kind for mark, kind in MARKS.items() if content.startswith(mark)), None)
    if kind:
        raise TableError(f"'{path}' is in {kind}; save it in UTF-8")
    if b"\0" in content:
        raise TableError(f"'{path}' holds NUL bytes, as text in UTF-16 does; save it in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{content[error.start]:02x} at {error.start:,}"
        raise TableError(f"'{path}' is not in UTF-8 ({byte}), but perhaps in Windows-1252; save it in UTF-8") from error


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, which end at LF or CRLF; text after the last line end is a line, too."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file that are not blank, with their numbers."""
    return ((number, line) for number, line in enumerate(lines_of(read_text(path)), 1) if line.strip())


def _list(path: Path, _wanted: Wanted) -> Content:
    rows = tuple(_lines(path))
    for number, line in rows:
        if "\r" in line.strip():
            raise TableError(f"'{path}', row {number}: {LONE}")
    return Content(None, rows)


def _separated(path: Path, wanted: Wanted) -> Content:
    text = read_text(path).lstrip("\r\n")
    separator = max(SEPARATORS[path.suffix.lower()], key=lambda each: _fitness(text, each, wanted))
    records = _records(path, text, separator)
    header = _without_blanks(next(records, []), 0)
    kept = _kept(header, wanted, f"'{path}'")
    rows = [(number, record) for number, record in enumerate(records, 1) if any(map(str.strip, record))]
    return Content(tuple(header), tuple(_cells(rows, header, kept, path)))


def _fitness(text: str, separator: str, wanted: Wanted) -> tuple[int, int]:
    """Return how well a separator divides the first row: how many columns are then known, and how many there are."""
    try:
        header = next(csv.reader(StringIO(text, newline="\n"), delimiter=separator, strict=True), [])
    except csv.Error:
        return -1, 0
    return sum(plain(name) in wanted for name in header if wanted), len(header)


def _records(path: Path, text: str, separator: str) -> Iterator[list[str]]:
    reader = csv.reader(StringIO(text, newline="\n"), delimiter=separator, strict=True)  # splits at line feeds alone
    row = -1  # counts records: the header is 0
    try:
        for row, record in enumerate(reader):  # noqa: B007  for the refusal
            yield list(map(unguarded, record))
    except csv.Error as error:
        reason = LONE if "new-line" in str(error) else f"{error}; mend its quotes"
        raise TableError(f"'{path}', line {reader.line_num}, row {row + 1}: {reason}") from error


def _without_blanks(cells: Sequence[str], least: int) -> list[str]:
    """Remove the blank cells at the end, which spreadsheets add, and keep at least the first `least` cells."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return list(cells[:end])


def _cells(
    rows: Iterable[tuple[int, list[str]]], header: Sequence[str], kept: Mapping[int, str], path: Path
) -> Iterator[Numbered]:
    for number, row in rows:
        cells = _without_blanks(row, len(header))
        if len(cells) != len(header):
            what = "a separator" if len(cells) > len(header) else "a line break"
            raise TableError(
                f"'{path}', row {number}: {counted(len(cells), 'cell')}, and the header has {len(header)}; a text "
                f"with {what} in it stands between quotes"
            )
        yield number, {name: cells[place] for place, name in kept.items()}


def _kept(names: Iterable[str], wanted: Wanted, where: str) -> dict[int, str]:
    """Return the places and plain names of the wanted columns; raise TableError if one of them occurs twice."""
    kept = {place: plain(name) for place, name in enumerate(names) if wanted is None or plain(name) in wanted}
    counts = Counter(kept.values())
    if counts and max(counts.values()) > 1:
        raise TableError(f"{where}: column '{counts.most_common(1)[0][0]}' is there more than once; keep one of them")
    return kept


def _json(path: Path, wanted: Wanted) -> Content:
    found = _decoded(read_text(path), list[Any], f"'{path}'")
    return _objects(enumerate(found, 1), wanted, path)


def _jsonl(path: Path, wanted: Wanted) -> Content:
    found = ((row, _decoded(line, Any, f"'{path}', row {row}")) for row, line in _lines(path))
    return _objects(found, wanted, path)


def _decoded(text: str, kind: Any, where: str) -> Any:
    """Decode the JSON of a table or a list; raise TableError if it is no JSON of the type `kind`."""
    try:
        return decode_json(text, kind, where, "write a list of objects or of texts")
    except DragonError as error:
        raise TableError(str(error)) from error


def _objects(found: Iterable[Numbered], wanted: Wanted, path: Path) -> Content:
    """Return rows that are objects, whose keys are the columns, or rows that are texts."""
    columns: dict[str, None] = {}
    rows: list[Numbered] = []
    for number, value in found:
        where = f"'{path}', row {number}"
        if not isinstance(value, type(rows[0][1]) if rows else dict | str):
            promised = "the rows of a table are objects, and the rows of a list are texts"
            raise TableError(f"{where}: {value!r:.40}; {promised}")
        if isinstance(value, dict):
            columns |= dict.fromkeys(value)
            rows.append((number, _named(value, wanted, where)))
        else:
            rows.append((number, value))
    return Content(None if rows and isinstance(rows[0][1], str) else tuple(columns), tuple(rows))


def _named(value: Mapping[str, Any], wanted: Wanted, where: str) -> dict[str, Any]:
    cells = list(value.values())
    return {name: cells[place] for place, name in _kept(value, wanted, where).items()}


def parquet_columns(path: Path) -> list[str]:
    """Return the names of a parquet file's columns.

    Raises:
        TableError: the file cannot be read as parquet.
    """
    with _opened(path) as file:
        names: list[str] = file.schema_arrow.names
        return names


def _parquet(path: Path, wanted: Wanted) -> Content:
    with _opened(path) as file:
        header, count = file.schema_arrow.names, file.metadata.num_rows
        kept = _kept(header, wanted, f"'{path}'")
        found = file.read(columns=[header[place] for place in kept])
        columns = [found[header[place]].to_pylist() for place in kept]
    cells = zip(*columns, strict=True) if columns else iter([()] * count)
    rows = ((number, dict(zip(kept.values(), row, strict=True))) for number, row in enumerate(cells, 1))
    return Content(tuple(header), tuple(rows))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield file
    except (OSError, ValueError, MemoryError, ArrowException) as error:
        raise TableError(f"'{path}' cannot be read as parquet ({error}); get the file again") from error


FORMATS: Mapping[str, Callable[[Path, Wanted], Content]] = {
    ".txt": _list,
    ".csv": _separated,
    ".tsv": _separated,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
