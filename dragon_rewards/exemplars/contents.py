"""What the examples of a user's set come to, kept in `contents.json` so that no command looks through all sets.

The file records of which file of examples it was made, by its name, size and time. When that is another file now, such
as after a change or a copy of the folder, the examples are looked through again.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.item import AGAIN, Seconds, read_items
from dragon_rewards.storage.decoding import Count, read_json
from dragon_rewards.storage.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dragon_rewards.exemplars.item import Item

CONTENTS = "contents.json"


@dataclass(frozen=True)
class Stamp:
    """What tells a file of examples from another: its name, its bytes, and when it was modified, in nanoseconds."""

    name: str
    size: int
    modified: int


@dataclass(frozen=True)
class Contents:
    """The sums over the examples of a set.

    Attributes:
        made_of: the file of examples.
        examples: the number of examples.
        without_file: the number of examples whose file is not on this machine, and of captions.
        seconds: the length of all audio.
        windows: the number of windows that are encoded.
        silent: the number of windows that are left out because nothing is heard in them.
        window: the length in seconds of the windows that most examples are cut into; 0 if none is cut.
    """

    made_of: Stamp
    examples: Count
    without_file: Count
    seconds: float
    windows: Count
    silent: Count
    window: Seconds

    @property
    def has_files(self) -> bool:
        """Whether there are examples, and all of them are files that were on this machine when they were added."""
        return self.examples > 0 and self.without_file == 0


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a file of examples.

    Raises:
        DragonError: the file is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DragonError(f"'{path}' cannot be read ({error.strerror}); {AGAIN}") from error
    return Stamp(path.name, status.st_size, status.st_mtime_ns)


def sums(examples: Sequence[Item], made_of: Stamp) -> Contents:
    """Return what examples come to that were read from the file with this stamp, or written to it."""
    windows = Counter(item.window for item in examples if item.window)
    return Contents(
        made_of=made_of,
        examples=len(examples),
        without_file=sum(item.path is None for item in examples),
        seconds=sum(item.seconds for item in examples),
        windows=sum(item.windows for item in examples),
        silent=sum(item.silent for item in examples),
        window=max(windows, key=windows.__getitem__, default=0.0),
    )


def write_contents(contents: Contents, folder: Path) -> None:
    """Keep what the examples come to in the folder of their set.

    Raises:
        OSError: the folder cannot be written.
    """
    write_text(folder / CONTENTS, f"{json.dumps(asdict(contents), indent=2)}\n")


def read_contents(path: Path) -> Contents:
    """Return what the examples in a file come to: as it is kept, or else of the examples, which are looked through.

    Raises:
        DragonError: the file cannot be read, or a line is no item.
    """
    return _read(path, stamp_of(path))


def kept_contents(folder: Path) -> Contents | None:
    """Return what the folder of a set keeps, whichever examples it was made of; None if that is missing or broken."""
    try:
        return read_json(folder / CONTENTS, Contents, "it is made again")
    except DragonError:
        return None


@lru_cache(maxsize=64)
def _read(path: Path, stamp: Stamp) -> Contents:
    kept = kept_contents(path.parent)
    return kept if kept and kept.made_of == stamp else sums(read_items(path), stamp)
