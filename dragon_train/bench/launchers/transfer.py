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
    """The absolute path, links kept: what is beside a folder by its name is beside its copy."""
    return Path(os.path.normpath(path.absolute()))


def files(folder: Path) -> dict[str, Stamp]:
    """Relative path -> time of change and size of each file, in the order of change; half-written ones left out."""
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
    """The folder, and place -> file of all that a task finds at its start; places are below the nearest common parent.

    So the inputs are found where they are, seen from the folder.
    """
    folder = whole(task.folder)
    sources = [*(folder / name for name in files(folder)), *map(whole, task.inputs)]
    root = Path(os.path.commonpath([folder.parent, *sources]))
    return folder.relative_to(root), {path.relative_to(root): path for path in sources}


def unpack(root: Path, contents: Mapping[Path, bytes]) -> None:
    """Write files at their places."""
    for place, content in contents.items():
        write(root / place, content)


def write(path: Path, content: bytes | None) -> None:
    """Write a file, whole or not at all; None removes it."""
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_bytes(path, content)


@dataclass
class Outbox:
    """Tells what changed in a folder since the last time; what is there at first is known."""

    folder: Path
    known: dict[str, Stamp] = field(init=False)
    sent: dict[str, float] = field(default_factory=dict)  # when

    def __post_init__(self) -> None:
        self.known = files(self.folder)

    def changes(self, *, final: bool = False) -> Iterator[tuple[str, bytes | None]]:
        """Files and their content in the order in which they were written, then those that are gone, as None.

        In this order, a kill leaves the receiver what a kill leaves the writer. Large files that change often are told
        every minute, and at last.
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
        """Whether a changed file is small, or has not been told of lately."""
        return stamp[1] < LARGE or monotonic() - self.sent.get(name, -EVERY) >= EVERY
