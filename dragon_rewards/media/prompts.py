"""Find the prompts of audio files, in a table that names them or in what lies beside them.

Beside a file these count: the project's own table `prompts.csv`; the tables of an `audiofolder` of the Hugging Face
hub; and the file's own text, which is `track.caption.txt`, `track_prompt.txt` or `track.txt` for `track.wav`. The first
of these three texts that is there counts: where one of the others is there, as ACE-Step writes them, `track.txt` holds
lyrics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dragon_rewards.errors import MissingColumnError, MissingPromptsError, TableError
from dragon_rewards.storage.table_files import PATH, SEED, TEXT, located, read_table
from dragon_rewards.storage.table_formats import read_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

OWN = "prompts.csv"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
TABLES = (OWN, *METADATA)
SIDECARS = (".caption.txt", "_prompt.txt", ".txt")


@dataclass(frozen=True)
class Entry:
    """What is known of a file besides its audio.

    Attributes:
        where: where that is written, for error messages.
        text: the prompt of the file; None if it is not known.
        seed: the seed that the file was made from; None if it is not known.
    """

    where: str
    text: str | None
    seed: int | None = None


@dataclass(frozen=True)
class PromptSource:
    """The prompts and seeds of files, and what is wrong with tables beside the files that cannot be used.

    Attributes:
        entries: what is known of each file, by its `located` path.
        faults: one message per table beside the files that lacks a column, or per file that it names and that is gone.
    """

    entries: Mapping[Path, Entry]
    faults: tuple[str, ...] = ()

    def of(self, file: Path) -> Entry | None:
        """Return what is known of a file by the path that it is given by, or by the path that a link leads to."""
        return self.entries.get(located(file)) or self.entries.get(file.resolve())


def prompts_of(files: Sequence[Path], table: Path | None = None, places: Iterable[Path] = ()) -> list[str]:
    """Return the prompt of each file.

    Args:
        files: the audio.
        table: where the prompts are; None for what lies beside the files.
        places: folders that the files were found in, whose tables count for all files below them.

    Raises:
        MissingPromptsError: a file has no prompt.
        TableError: a table cannot be used (see `prompt_sources`).
    """
    said = prompt_sources(files, table, places)
    texts = [entry.text if (entry := said.of(file)) else None for file in files]
    missing = [str(file) for file, text in zip(files, texts, strict=True) if not text]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        where = f"'{table}'" if table else f"a table {OWN} beside it, or give one with --prompts"
        faults = "".join(f"\n{fault}" for fault in said.faults)
        raise MissingPromptsError(f"no prompt for '{missing[0]}'{more}; add its path and prompt to {where}{faults}")
    return [text for text in texts if text]


def prompt_sources(files: Sequence[Path], table: Path | None = None, places: Iterable[Path] = ()) -> PromptSource:
    """Return what `table` says of the files or, without a table, what lies beside them says.

    Args:
        files: the audio.
        table: where the prompts are; None for what lies beside the files.
        places: folders that the files were found in, whose tables count for all files below them.

    Raises:
        TableError: a table or a text cannot be read, `table` lacks a column, or two sources differ on a file.
    """
    if table is not None:
        return PromptSource(table_entries(table))
    parts, faults = [], []
    for path in tables_of(files, places):
        try:
            parts.append(table_entries(path))
        except MissingColumnError as error:
            faults.append(str(error))
            continue
        if path.name in METADATA:  # clips that the project made may well be gone from its own table's folder
            gone = [(file, entry) for file, entry in parts[-1].items() if not _is_file(file)]
            faults += [f"{entry.where}: no file '{file}'" for file, entry in gone]
    return PromptSource(united([*parts, sidecars(files)]), tuple(faults))


def table_entries(path: Path) -> dict[Path, Entry]:
    """Read what a table says of files, by the `located` path of each.

    Raises:
        MissingColumnError: the table lacks the column of paths or the column of texts.
        TableError: the table cannot be read, or lists a path twice.
    """
    table = read_table(path)
    table.require(PATH, TEXT)
    rows = table.by_path().items()
    return {file: Entry(table.where(row), table.text(row), table.whole(row, SEED)) for file, row in rows}


def tables_of(files: Iterable[Path], places: Iterable[Path]) -> list[Path]:
    """Return the tables beside these files, and above them in the folders of `places`."""
    within = list(places)
    beside = dict.fromkeys(file.parent for file in files)
    folders = dict.fromkeys(above for folder in beside for above in _up(folder, within))
    return [path for folder in sorted(folders) for name in TABLES if _is_file(path := folder / name)]


def _up(folder: Path, places: Iterable[Path]) -> Iterator[Path]:
    """Yield a folder, and the folders above it that lie in one of the places."""
    yield folder
    yield from (above for above in folder.parents if any(above.is_relative_to(place) for place in places))


def sidecars(files: Iterable[Path]) -> dict[Path, Entry]:
    """Read the texts that belong to one file each, by the `located` path of the file.

    Raises:
        TableError: a text cannot be read.
    """
    found = {}
    for file in files:
        paths = (file.with_name(file.stem + ending) for ending in SIDECARS)
        beside = next((path for path in paths if _is_file(path)), None)
        if beside:
            found[located(file)] = Entry(f"'{beside}'", read_text(beside).strip() or None)
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # as of a name that is too long
        return False


def united(parts: Iterable[Mapping[Path, Entry]]) -> dict[Path, Entry]:
    """Return what all parts together say of each file.

    Raises:
        TableError: two parts give other words for one file.
    """
    known: dict[Path, Entry] = {}
    for part in parts:
        for file, entry in part.items():
            known[file] = _joined(file, known[file], entry) if file in known else entry
    return known


def _joined(file: Path, one: Entry, other: Entry) -> Entry:
    if one.text and other.text and one.text.split() != other.text.split():
        raise TableError(f"'{file}' has other words in {one.where} than in {other.where}; keep one of them")
    return replace(one, text=one.text or other.text, seed=other.seed if one.seed is None else one.seed)


def clip_stem(number: int, prompt: str) -> str:
    """Return the name of a clip's file, without its suffix.

    >>> clip_stem(7, "A jig, on the fiddle!")
    '0007-a-jig-on-the-fiddle'
    """
    return f"{number:04d}-{re.sub(r'[^a-z0-9]+', '-', prompt.lower()).strip('-')[:60]}"
