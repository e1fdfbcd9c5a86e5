"""Where examples come from: folders, audio files, tables of captions, parquet shards, datasets of the Hugging Face hub.

A folder is read as an `audiofolder` of the hub's: `metadata.csv` and `metadata.jsonl` hold the captions of the files
beside and below them, by `file_name`.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import AudioError, DragonError
from dragon_rewards.exemplars.item import is_line
from dragon_rewards.finding import Found, no_audio, visible_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dragon_rewards.exemplars.item import Item

COLUMNS = ("caption", "text", "prompt")  # any of them holds captions; the first that is there counts
TABLES = frozenset({".txt", ".csv", ".jsonl"})
METADATA = ("metadata.csv", "metadata.jsonl")
PARQUET = ".parquet"
AUDIO = "audio"  # the column of a parquet file that holds audio, as structs of bytes and path
DATASET = re.compile(r"[\w.-]+/[\w.-]+")

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """An audio file, or the one in a row of a parquet file, and its caption if it has one."""

    path: Path
    row: int | None = None
    caption: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.row is None else f"{self.path}, row {self.row}"

    @staticmethod
    def of(item: Item) -> Source:
        """Where the audio of an example is."""
        return Source(Path(str(item.path)), item.row, item.caption)

    def open(self) -> BufferedReader | BytesIO:
        """The bytes of the audio file.

        Raises:
            AudioError: it is missing.
        """
        try:
            return self.path.open("rb") if self.row is None else BytesIO(_bytes(self.path, self.row))
        except (OSError, LookupError, TypeError, ValueError) as error:  # pyarrow's errors are of these
            raise AudioError(f"'{self}' cannot be read ({error})") from error


@dataclass
class Gathered:
    """What was found: audio or captions, and what is wrong with the rest."""

    audio: dict[Source, None] = field(default_factory=dict)
    captions: dict[str, None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    origins: dict[str, None] = field(default_factory=dict)
    files: Found = field(default_factory=Found)

    def add_caption(self, text: object, where: str) -> None:
        """Take a caption as one line."""
        line = " ".join(text.split()) if isinstance(text, str) else ""
        if is_line(line):
            self.captions[line] = None
        else:
            self.faults.append(f"{where}: no caption, or control characters")


def gather(places: Iterable[str]) -> Gathered:
    """What is to be found in these files, folders and datasets (`owner/name`); no audio is read.

    Raises:
        DragonError: a place does not exist or holds neither audio nor captions; a table is malformed; audio and
            captions are mixed.
    """
    found = Gathered()
    for place in places:
        _gather(place, found)
    found.files.tell()
    if found.audio and found.captions:
        raise DragonError("these are both audio and captions; make a set of each")
    return found


def _gather(place: str, found: Gathered) -> None:
    path = Path(place).expanduser().absolute()
    if not path.exists() and DATASET.fullmatch(place):
        found.origins[f"dataset {place} of the Hugging Face hub"] = None
        _gather_folder(_dataset(place), found)
    elif path.is_dir():
        found.origins["files of the user"] = None
        _gather_folder(path, found)
    elif path.is_file():
        found.origins["files of the user"] = None
        _gather_file(path, found)
    else:
        raise DragonError(f"'{place}' does not exist; give audio files, a folder of them, or a file of captions")


def _gather_file(path: Path, found: Gathered) -> None:
    if path.suffix.lower() == PARQUET:
        _gather_parquet(path, found)
    elif path.suffix.lower() in TABLES:
        for line, text in read_captions(path):
            found.add_caption(text, f"{path}, row {line}")
    elif found.files.add(path):
        found.audio[Source(path)] = None


def _gather_folder(folder: Path, found: Gathered) -> None:
    files = visible_files(folder)
    captions = _metadata(files, found)
    known = set(found.files.files)
    audio = found.files.search(files)
    shards = [path for path in files if path.suffix.lower() == PARQUET]
    if not audio and not shards:
        raise no_audio(folder, found.files)
    new = (path for true, path in found.files.files.items() if true not in known)
    found.audio |= {Source(path, caption=captions.get(path)): None for path in new}
    for shard in shards:
        _gather_parquet(shard, found)


def _metadata(files: Sequence[Path], found: Gathered) -> dict[Path, str]:
    """Captions by file, from the tables among these files; a file that a table names and that is missing is a fault."""
    captions, known = {}, set(files)
    for table in files:
        if table.name not in METADATA:
            continue
        for number, row in _rows(table):
            path = table.parent / str(row.get("file_name"))
            column = next((name for name in COLUMNS if row.get(name)), None)
            if path not in known:
                found.faults.append(f"{table}, row {number}: no file '{path}'")
            elif column and is_line(line := " ".join(str(row[column]).split())):
                captions[path] = line
    return captions


def read_captions(table: Path) -> Iterator[tuple[int, object]]:
    """Row numbers from 1 and captions of a file: lines of a TXT file, a column of a CSV or JSONL table.

    Raises:
        DragonError: the file cannot be read, or has no column of captions.
    """
    if table.suffix.lower() == ".txt":
        lines = _text(table).splitlines()
        return ((line, text) for line, text in enumerate(lines, 1) if text.strip())
    rows = _rows(table)
    column = _column(rows[0][1] if rows else {}, table)
    return ((line, row.get(column)) for line, row in rows)


def _column(columns: Iterable[str], table: Path) -> str:
    names = list(columns)
    column = next((name for name in COLUMNS if name in names), None)
    if column is None:
        has = ", ".join(names) or "none"
        raise DragonError(f"'{table}' has no column {' or '.join(COLUMNS)}; its columns: {has}")
    return column


def _rows(table: Path) -> list[tuple[int, Row]]:
    text = _text(table)
    try:
        if table.suffix.lower() == ".csv":
            return list(enumerate(csv.DictReader(text.splitlines(keepends=True), strict=True), 1))
        return [(line, _object(row)) for line, row in enumerate(text.splitlines(), 1) if row.strip()]
    except (ValueError, csv.Error) as error:
        raise DragonError(f"'{table}' cannot be read as a table ({error}); mend it") from error


def _object(row: str) -> Row:
    values = json.loads(row)
    if not isinstance(values, dict):
        raise ValueError(f"{row:.80} is no object")  # noqa: TRY004  what json raises, too
    return values


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DragonError(f"'{table}' cannot be read as text in UTF-8 ({error})") from error


def _dataset(name: str) -> Path:
    """The folder of a dataset in the hub's cache, downloaded if it is not there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise DragonError(
            f"'{name}' is no file or folder, and no dataset of this name is in the hub's cache or could be downloaded "
            f"({type(error).__name__}: {error}); with a network: hf download --repo-type dataset {name}"
        ) from error


def _gather_parquet(path: Path, found: Gathered) -> None:
    """The rows of a parquet file: audio with captions, or captions alone."""
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names, count = file.schema_arrow.names, file.metadata.num_rows
            column = next((name for name in COLUMNS if name in names), None) if AUDIO in names else _column(names, path)
            texts = file.read(columns=[column])[column].to_pylist() if column else [None] * count
    except (OSError, ValueError) as error:
        raise DragonError(f"'{path}' cannot be read as parquet ({error}); get the file again") from error
    for row, text in enumerate(texts):
        if AUDIO in names:
            line = " ".join(str(text or "").split())
            found.audio[Source(path, row, line if is_line(line) else None)] = None
        else:
            found.add_caption(text, f"{path}, row {row + 1}")


def _bytes(path: Path, row: int) -> bytes:
    """The audio file in a row of a parquet file."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    group = 0
    while row >= sizes[group]:
        row, group = row - sizes[group], group + 1
    content: bytes | None = _row_group(path, group, path.stat().st_mtime_ns)[row].as_py()["bytes"]
    if content is None:
        raise ValueError("the row holds no bytes")
    return content


@lru_cache(maxsize=1)  # rows are read in order, and a group of them at once
def _row_group(path: Path, group: int, _modified: int) -> Any:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return file.read_row_group(group, columns=[AUDIO])[AUDIO]
