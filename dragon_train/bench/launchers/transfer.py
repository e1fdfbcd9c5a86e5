"""The files of a task that travel between the machine of the results and the machine of the run."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from dragon_rewards.storage.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dragon_train.bench.launchers.base import Task

LARGE, EVERY = 2**20, 60.0  # bytes; seconds: 500 MB of checkpoint a minute is 8 MB/s, which any network bears

Stamp = tuple[int, int]


def whole(path: Path) -> Path:
    """Return the absolute path with its links kept, so that what is beside a folder by its name is beside its copy."""
    return Path(os.path.normpath(path.absolute()))


def files(folder: Path) -> dict[str, Stamp]:
    """Return the time of change (ns) and the size (bytes) of each file in a folder, by its path relative to the folder.

    The files are in the order of their change; half-written ones are left out.
    """
    found = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not (path.name.startswith(".") and path.suffix == ".part"):
                status = path.stat()
                found[str(path.relative_to(folder))] = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:  # replaced or removed since it was listed
            continue
    return dict(sorted(found.items(), key=lambda item: item[1]))


def packing(task: Task) -> tuple[Path, dict[Path, Path]]:
    """Return a task's folder and all files that it finds at its start, as paths below their nearest common parent.

    So the inputs are found where they are, seen from the folder.

    Returns:
        The folder below the common parent, and the file on this machine for each place below it.
    """
    folder = whole(task.folder)
    sources = [*(folder / name for name in files(folder)), *map(whole, task.inputs)]
    root = Path(os.path.commonpath([folder.parent, *sources]))
    return folder.relative_to(root), {path.relative_to(root): path for path in sources}


def unpack(root: Path, contents: Mapping[Path, bytes]) -> None:
    """Write files at their places below `root`, with the contents that are given."""
    for place, content in contents.items():
        write(root / place, content)


def write(path: Path, content: bytes | None) -> None:
    """Write a file, whole or not at all, or remove it where the content is None."""
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_bytes(path, content)


@dataclass
class Outbox:
    """A watch on a folder, which tells what has changed since it was last asked.

    Attributes:
        folder: which is watched; the files that it holds at first count as told.
        known: the stamp of each file when it was last told.
        sent: when each file was last told, in seconds of `time.monotonic`.
    """

    folder: Path
    known: dict[str, Stamp] = field(init=False)
    sent: dict[str, float] = field(default_factory=dict)  # when

    def __post_init__(self) -> None:
        self.known = files(self.folder)

    def changes(self, *, final: bool = False) -> Iterator[tuple[str, bytes | None]]:
        """Yield each file that changed, with its content, in the order of change; then each removed file, with None.

        In this order, a kill leaves the receiver what a kill leaves the writer. Large files that change often are told
        every minute, and at last.

        Args:
            final: tell large files even if they were told within the last minute.
        """
        found = files(self.folder)
        for name, stamp in found.items():
            if self.known.get(name) != stamp and (final or self.due(name, stamp)):
                try:
                    content = (self.folder / name).read_bytes()
                except FileNotFoundError:  # removed since it was listed
                    continue
                self.known[name], self.sent[name] = stamp, monotonic()
                yield name, content
        for name in self.known.keys() - found.keys():
            del self.known[name]
            yield name, None

    def due(self, name: str, stamp: Stamp) -> bool:
        """Tell whether a changed file is small, or has not been told of within the last minute."""
        return stamp[1] < LARGE or monotonic() - self.sent.get(name, -EVERY) >= EVERY
