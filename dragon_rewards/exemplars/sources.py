"""The places where examples come from: folders, files, tables of captions, parquet files, datasets of the hub.

Files are audio or images. A folder that holds audio is a place of audio, whatever images lie beside it, as covers do.
Captions of files are those that lie beside them, as the module `prompts` finds them: in tables, such as `metadata.csv`
of an `audiofolder` of the Hugging Face hub, which hold for all files below them, or in a text file for each file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import AudioError, DragonError, TableError
from dragon_rewards.exemplars.item import is_line
from dragon_rewards.media.discovery import Found, no_audio, visible_files
from dragon_rewards.media.kinds import IMAGE_SUFFIXES, USUAL_IMAGES, images_among
from dragon_rewards.media.prompts import TABLES, prompt_sources
from dragon_rewards.storage.table_files import SUFFIXES, TEXT, read_table
from dragon_rewards.storage.table_formats import parquet_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.storage.table_files import Table

PARQUET = ".parquet"
AUDIO = "audio"  # the column of a parquet file that holds audio, as structs of bytes and path
DATASET = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Source:
    """A file of audio or an image, or a row of a parquet file that holds audio, and its caption if it has one."""

    path: Path
    row: int | None = None
    caption: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.row is None else f"{self.path}, row {self.row}"

    @staticmethod
    def of(item: Item) -> Source:
        """Return the file, or the row of a file, that holds an example."""
        return Source(Path(str(item.path)), item.row, item.caption)

    @property
    def is_image(self) -> bool:
        """Whether it is an image, as its suffix says."""
        return self.row is None and self.path.suffix.lower() in IMAGE_SUFFIXES

    def open(self) -> BufferedReader | BytesIO:
        """Open the file and return the stream of its bytes.

        Raises:
            AudioError: the file is missing or cannot be read.
        """
        try:
            return self.path.open("rb") if self.row is None else BytesIO(_bytes(self.path, self.row))
        except (OSError, LookupError, TypeError, ValueError) as error:  # pyarrow's errors are subclasses of these
            raise AudioError(f"'{self}' cannot be read ({error})") from error


@dataclass
class Gathered:
    """The examples that were found, and what is wrong with files that cannot be used.

    Attributes:
        audio: the audio files, in order, as the keys.
        images: the images, in order, as the keys.
        captions: the captions, in order, as the keys.
        faults: a message for each file or caption that cannot be used.
        origins: where the examples are from, for the manifest, as the keys.
        files: the audio files of all places, and audio that cannot be used.
    """

    audio: dict[Source, None] = field(default_factory=dict)
    images: dict[Source, None] = field(default_factory=dict)
    captions: dict[str, None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    origins: dict[str, None] = field(default_factory=dict)
    files: Found = field(default_factory=Found)

    @property
    def media(self) -> dict[Source, None]:
        """The files of audio that were found, or the images where there is no audio."""
        return self.audio or self.images

    def add_caption(self, text: str, where: str) -> None:
        """Take a caption as one line, or record a fault if it has control characters."""
        line = self.line(text, where)
        if line:
            self.captions[line] = None

    def line(self, text: str, where: str) -> str | None:
        """Return a caption as one line; if it has control characters, record a fault and return None."""
        line = " ".join(text.split())
        if is_line(line):
            return line
        self.faults.append(f"{where}: control characters in the caption; take them out")
        return None


def gather(places: Iterable[str]) -> Gathered:
    """Find the examples in these files, folders and datasets (`owner/name`); no audio or image is read.

    Raises:
        DragonError: a place does not exist or holds neither audio nor images nor captions; a table is malformed; there
            are examples of several kinds.
    """
    found = Gathered()
    for place in places:
        _gather(place, found)
    found.files.tell()
    kinds = {"audio": found.audio, "images": found.images, "captions": found.captions}
    there = [kind for kind, examples in kinds.items() if examples]
    if len(there) > 1:
        raise DragonError(f"these are both {' and '.join(there)}; make a set of each")
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
        raise DragonError(
            f"'{place}' does not exist; give files of audio or images, a folder of them, or a file of captions"
        )


def _gather_file(path: Path, found: Gathered) -> None:
    if path.suffix.lower() == PARQUET and AUDIO in parquet_columns(path):
        _gather_shard(path, found)
    elif path.suffix.lower() in SUFFIXES:
        _gather_captions(read_table(path), found)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        _gather_media([path], [], found, found.images)
    elif found.files.add(path):
        _gather_media([path], [], found, found.audio)


def _gather_folder(folder: Path, found: Gathered) -> None:
    files = visible_files(folder)
    known = set(found.files.files)
    audio = found.files.search(files)
    shards = [path for path in files if path.suffix.lower() == PARQUET and path.name not in TABLES]
    images = [] if audio or shards else images_among(files)
    if not audio and not shards and not images:
        raise AudioError(f"{no_audio(folder, found.files)}, or with {USUAL_IMAGES} images")
    _gather_media(images, [folder], found, found.images)
    new = [path for true, path in found.files.files.items() if true not in known]
    _gather_media(new, [folder], found, found.audio)
    for shard in shards:
        _gather_file(shard, found)


def _gather_media(files: Sequence[Path], places: Sequence[Path], found: Gathered, taken: dict[Source, None]) -> None:
    """Take files of audio or images, with the captions that lie beside them."""
    said = prompt_sources(files, None, places)
    found.faults += said.faults
    for file in files:
        entry = said.of(file)
        caption = found.line(entry.text, entry.where) if entry and entry.text else None
        taken[Source(file, caption=caption)] = None


def _gather_captions(table: Table, found: Gathered) -> None:
    table.require(TEXT)
    for row in table.rows:
        try:
            found.add_caption(table.require_text(row), table.where(row))
        except TableError as error:
            found.faults.append(str(error))


def _dataset(name: str) -> Path:
    """Return the folder of a dataset in the hub's cache, and download it if it is not there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, repo_type="dataset"))
    except Exception as error:  # the hub's client raises errors of many libraries
        raise DragonError(
            f"'{name}' is no file or folder, and no dataset of this name is in the hub's cache or could be downloaded "
            f"({type(error).__name__}: {error}); with a network: hf download --repo-type dataset {name}"
        ) from error


def _gather_shard(path: Path, found: Gathered) -> None:
    """Take the rows of a parquet file that holds audio, with its captions if it has any."""
    table = read_table(path)
    for place, row in enumerate(table.rows):
        text = table.text(row) if table.has(TEXT) else None
        caption = found.line(text, table.where(row)) if text else None
        found.audio[Source(path, place, caption)] = None


def _bytes(path: Path, row: int) -> bytes:
    """Return the bytes of the audio file in a row of a parquet file."""
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
