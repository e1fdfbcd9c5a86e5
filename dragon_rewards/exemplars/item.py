"""The examples of a user's exemplar set: one line of JSON for each, in a file that is named after its contents.

The manifest holds the hash of the contents. A set is changed by writing the new file of examples beside the old one and
then replacing the manifest, so a process that is killed at any moment leaves the old set or the new one.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import Count, Hash, decode_names, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
LARGEST = 2**31  # bytes of a list: a million examples have a third of that
AGAIN = "remove the set and add it again"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls terminals, ends lines, is no UTF-8


@dataclass(frozen=True)
class Item:
    """An example of a set: a caption, or a file of audio or an image that stays where it is.

    Attributes:
        sha256: the hash of the file's bytes, or of the caption in UTF-8.
        caption: the caption that is the example, or that came with the file; None if there is none.
        path: the file, or the parquet file that holds it; None if the file is not on this machine, and for text.
        row: the row of the parquet file at `path`; None if the audio is a file of its own.
        seconds: the length of the audio, in all its windows; 0 of an image.
        window: the length in seconds of the windows that the audio is cut into; 0 of an image.
        windows: the number of windows that are encoded; 1 of an image.
        silent: the number of windows that are left out because nothing is heard in them.
    """

    sha256: Hash
    caption: str | None = None
    path: str | None = None
    row: Count | None = None
    seconds: Seconds = 0.0
    window: Seconds = 0.0
    windows: Count = 0
    silent: Count = 0

    @property
    def key(self) -> bytes:
        """The key, 32 bytes, by which statistics record this example: a hash of the content and the window's length."""
        return sha256(f"{self.sha256} {self.window}".encode()).digest()

    @property
    def portable(self) -> Item:
        """The example without what concerns only this machine: without path and row."""
        return replace(self, path=None, row=None)


def is_line(text: str) -> bool:
    """Return whether a text can be a caption: a single line that is not blank and has no control characters."""
    return bool(text.strip()) and not CONTROL.search(text)


def text_item(caption: str) -> Item:
    """Return the example that consists of a caption."""
    return Item(sha256(caption.encode()).hexdigest(), caption)


def pack_items(items: Iterable[Item]) -> bytes:
    """Return one line of JSON for each example, without the fields that are None."""
    lines = ({key: value for key, value in asdict(item).items() if value is not None} for item in items)
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()  # in ASCII, as names of files may be no UTF-8


def unpack_items(content: bytes, where: str, remedy: str) -> tuple[Item, ...]:
    """Read the examples that `pack_items` wrote.

    Args:
        content: the lines.
        where: what they are, for error messages.
        remedy: what to do if they cannot be read, as the end of a sentence.

    Raises:
        DragonError: a line is no item.
    """
    lines = enumerate(content.split(b"\n"), 1)
    return tuple(_item(line, f"line {number} of {where}", remedy) for number, line in lines if line)


def items_hash(items: Iterable[Item]) -> str:
    """Return the SHA-256 of the examples as they are exported, which does not depend on where the audio lies."""
    return sha256(pack_items(item.portable for item in items)).hexdigest()


def items_name(content_hash: str) -> str:
    """Return the name of the file of examples that belongs to a manifest with this hash."""
    return f"items-{content_hash[:16]}.jsonl"


def read_items(path: Path) -> tuple[Item, ...]:
    """Read the examples in a file; as long as the file does not change, it is read only once.

    Raises:
        DragonError: the file cannot be read, or a line is no item.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DragonError(f"'{path}' cannot be read ({error.strerror}); {AGAIN}") from error
    return _read(path, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=64)
def _read(path: Path, _modified: int, _node: int) -> tuple[Item, ...]:
    return unpack_items(read_bytes(path, AGAIN, LARGEST), f"'{path}'", AGAIN)


def _item(line: bytes, where: str, remedy: str) -> Item:
    item = decode_names(line, Item, where, remedy)
    if item.caption is not None and not is_line(item.caption):
        raise DragonError(f"{where}: the caption is {item.caption!r:.80}; {remedy}")
    return item
