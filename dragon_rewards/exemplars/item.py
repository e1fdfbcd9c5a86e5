"""The examples of a user's exemplar set: a line of JSON each, in a file that is named after its contents.

The manifest names the contents by their hash. A set is changed by writing the new file of examples beside the old one
and then replacing the manifest: a kill at any moment leaves the old set or the new one.
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
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Seconds = Annotated[float, Meta(ge=0, le=1e9)]
LARGEST = 2**31  # bytes of a list: that of a million examples has a third of it
AGAIN = "remove the set and add it again"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # a terminal would obey; no line of UTF-8


@dataclass(frozen=True)
class Item:
    """An example: a caption, or an audio file that stays where it is.

    Attributes:
        sha256: of the audio file's bytes, or of the caption in UTF-8.
        caption: of a text set's example, or of audio that came with one.
        path: of the audio file; None where the audio is not on this machine, and for text.
        row: of the parquet file at `path`, if the audio is in one.
        seconds: of audio, in all its windows.
        window: the length in seconds of the windows that the audio is cut into.
        windows: how many windows are encoded.
        silent: how many are left out because nothing is heard in them.
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
        """Names what statistics are made of, 32 bytes: the content and how it was cut."""
        return sha256(f"{self.sha256} {self.window}".encode()).digest()

    @property
    def portable(self) -> Item:
        """Without what concerns this machine only."""
        return replace(self, path=None, row=None)


def is_line(text: str) -> bool:
    """Whether a text is a caption: one line, not blank, without control characters."""
    return bool(text.strip()) and not CONTROL.search(text)


def text_item(caption: str) -> Item:
    """The example that a caption is."""
    return Item(sha256(caption.encode()).hexdigest(), caption)


def pack_items(items: Iterable[Item]) -> bytes:
    """A line of JSON each; what is not known is left out."""
    lines = ({key: value for key, value in asdict(item).items() if value is not None} for item in items)
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()  # ASCII: names of files may be no UTF-8


def unpack_items(content: bytes, where: str, remedy: str) -> tuple[Item, ...]:
    """The inverse of `pack_items`.

    Args:
        content: the lines.
        where: what they are, for refusals.
        remedy: as the end of a sentence.

    Raises:
        DragonError: a line is no item.
    """
    lines = enumerate(content.split(b"\n"), 1)
    return tuple(_item(line, f"line {number} of {where}", remedy) for number, line in lines if line)


def items_hash(items: Iterable[Item]) -> str:
    """SHA-256 of the examples as they are exported; where the audio lies plays no part."""
    return sha256(pack_items(item.portable for item in items)).hexdigest()


def items_name(content_hash: str) -> str:
    """The file of examples that a manifest with this hash stands for."""
    return f"items-{content_hash[:16]}.jsonl"


def read_items(path: Path) -> tuple[Item, ...]:
    """The examples in a file, read once for as long as it stays the same.

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


def has_audio(items: Sequence[Item]) -> bool:
    """Whether every example is audio that is on this machine, as far as the set knows."""
    return bool(items) and all(item.path is not None for item in items)


def _item(line: bytes, where: str, remedy: str) -> Item:
    item = decode_names(line, Item, where, remedy)
    if item.caption is not None and not is_line(item.caption):
        raise DragonError(f"{where}: the caption is {item.caption!r:.80}; {remedy}")
    return item
