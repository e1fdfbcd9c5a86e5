"""Writing of files: whole or not at all, and on a disk that was tried before the work began.

A file is written beside its place under a hidden name, `.NAME.PID-N.part`, and moved there when it is whole and on the
disk. Meanwhile its writer holds a lock on it. A part that is not locked was left by a writer that was killed, on
whatever machine, and the next process that writes into the folder removes it.

CSV files are safe in a spreadsheet: no text runs as a formula there, and all text is read back unchanged. A spreadsheet
takes a cell that begins with `= + - @`, a tab or a carriage return for a formula; an apostrophe before it makes it text
(OWASP, "CSV Injection"). So that nothing is lost, a cell that begins with apostrophes followed by one of these
characters gets one more apostrophe. Numbers stay numbers.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

T = TypeVar("T")

PART = re.compile(r"\..+\.\d+(-\d+)?\.part")
KEPT = 40  # characters of a file's name in the name of its part, which must fit into 255 bytes
NUMBERS = count()  # numbers the parts of this process, whose threads may write the same file
LIVE, GUARDED = re.compile(r"'*[=+\-@\t\r]"), re.compile(r"'+[=+\-@\t\r]")
PRIVATE = 0o600  # permissions of a file that only its owner may read


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Provide a temporary path beside `path` that becomes `path` if the block succeeds, and vanishes if it does not.

    Args:
        path: the file. If it is a link, the file that it leads to is replaced.
        mode: the permissions of the file, before the umask takes some away.

    Raises:
        OSError: the file cannot be written; `filename` says which file.
    """
    place = Path(os.path.realpath(path))
    with _part(place, lambda part: part.touch(mode, exist_ok=False)) as (part, descriptor), _told(part, path):
        yield part
        os.fsync(descriptor)
        if sys.platform == "win32":  # Windows moves no open file, and no file is locked here
            os.close(descriptor)
        part.replace(place)


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that takes the place of `folder` if the block succeeds, and vanishes if it does not.

    Raises:
        OSError: the folder cannot be written.
    """
    with _part(folder, Path.mkdir) as (part, _), _told(part, folder):
        yield part
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder inside `folder` during the block, and create `folder` if it does not exist.

    Raises:
        OSError: the folder cannot be created.
    """
    with _part(folder / "new", Path.mkdir) as (part, _), _told(part, folder):
        yield part


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file that appears whole or not at all; raises as `replacing`."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8 to a file that appears whole or not at all; raises as `replacing`."""
    write_bytes(path, text.encode())


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in full precision, without its index; raises as `replacing`."""
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    columns = {guarded(name): cells if is_numeric_dtype(cells) else cells.map(guarded) for name, cells in table.items()}
    write_text(path, pd.DataFrame(columns).to_csv(index=False))


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


def check_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before the work for it begins.

    Args:
        path: the file that is to be written.
        option: the command-line option that names it, for error messages.

    Raises:
        DragonError: it is a folder, no regular file or read-only, or nothing can be written to its folder.
    """
    if path.is_dir():
        raise DragonError(f"'{path}' is a folder; give {option} the path of a file")
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        what = "read-only" if path.is_file() else "no regular file"
        raise DragonError(f"'{path}' is {what}; give {option} another path")
    _try(path, path.parent, option)


def check_folder(path: Path, option: str) -> None:
    """Refuse a folder into which nothing could be written, before the work for it begins.

    Args:
        path: the folder; it need not exist.
        option: the command-line option that names it, for error messages.

    Raises:
        DragonError: it is a file, nothing can be written into it, or it cannot be created.
    """
    if path.exists() and not path.is_dir():
        raise DragonError(f"'{path}' is a file; give {option} the path of a folder")
    _try(path, path, option)


def sweep(folder: Path) -> None:
    """Remove the unfinished files that writers left in a folder when they were killed."""
    with os.scandir(folder) as entries:
        parts = [Path(entry.path) for entry in entries if PART.fullmatch(entry.name)]
    for part in parts:
        with suppress(OSError):  # another user owns it, or another process has removed it
            descriptor = os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)
            try:
                if _hold(descriptor):
                    _remove(part)
            finally:
                os.close(descriptor)


def _try(path: Path, folder: Path, option: str) -> None:
    """Write a byte into the folder, or into the nearest folder above it that exists, and remove it again."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise DragonError(f"'{path}' cannot be written ('{there}' is a file); choose another place with {option}")
    try:
        with _part(there / path.name, Path.touch) as (part, _):
            part.write_bytes(b"\0")
    except OSError as error:
        reason = f"'{there}': {error.strerror or error}"
        raise DragonError(f"'{path}' cannot be written ({reason}); choose another place with {option}") from error


@contextmanager
def _part(place: Path, make: Callable[[Path], None]) -> Iterator[tuple[Path, int]]:
    """Provide a new file or folder beside a place, with the descriptor that locks it.

    It is removed after the block unless it was moved away.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    sweep(place.parent)
    part, descriptor = _new_part(place, make)
    try:
        yield part, descriptor
    finally:
        _remove(part)
        with suppress(OSError):
            os.close(descriptor)


def _new_part(place: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    while True:
        part = place.with_name(f".{place.name[:KEPT]}.{os.getpid()}-{next(NUMBERS)}.part")
        make(part)
        with suppress(FileNotFoundError):  # swept away before it was held: make another
            descriptor = os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)
            if _hold(descriptor):
                return part, descriptor
            os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """Lock a part that still exists, and return whether that succeeded; it never does without such locks."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


@contextmanager
def _told(part: Path, path: Path) -> Iterator[None]:
    """Make errors of writing the part name the file that it was to become."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(part):
            error.filename = str(path)
            del error.filename2  # the place that a file was to be moved to
        raise
