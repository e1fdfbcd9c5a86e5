"""The examples of a user's exemplar set: a line of JSON each, in a file that is named after its contents.

The manifest names the contents by their hash. A set is changed by writing the new file of examples beside the old one
and then replacing the manifest: a kill at any moment leaves the old set or the new one.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

WINDOW = 30.0  # seconds of the windows that long audio is cut into, unless a set has its own
HASH = re.compile(r"[0-9a-f]{64}")
TYPES: dict[str, tuple[type, ...]] = {  # None is left out of a line
    "str": (str,),
    "str | None": (str,),
    "int": (int,),
    "int | None": (int,),
    "float": (float, int),
}
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

    sha256: str
    caption: str | None = None
    path: str | None = None
    row: int | None = None
    seconds: float = 0.0
    window: float = 0.0
    windows: int = 0
    silent: int = 0

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


def unpack_items(content: bytes) -> tuple[Item, ...]:
    """The inverse of `pack_items`.

    Raises:
        ValueError: a line is no item.
    """
    return tuple(_item(json.loads(line)) for line in content.split(b"\n") if line)


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
        return _read(path, status.st_mtime_ns, status.st_ino)
    except (OSError, ValueError) as error:
        raise DragonError(f"'{path}' lists no examples of a set ({error}); remove the set and add it again") from error


@lru_cache(maxsize=64)
def _read(path: Path, _modified: int, _node: int) -> tuple[Item, ...]:
    return unpack_items(path.read_bytes())


def has_audio(items: Sequence[Item]) -> bool:
    """Whether every example is audio that is on this machine, as far as the set knows."""
    return bool(items) and all(item.path is not None for item in items)


def _item(values: Any) -> Item:
    kinds = {field.name: TYPES[str(field.type)] for field in fields(Item)}
    if not isinstance(values, dict) or not {"sha256"} <= set(values) <= set(kinds):
        raise ValueError(f"expected an object with the keys {', '.join(kinds)}, not {values!r:.80}")
    wrong = [key for key, value in values.items() if not isinstance(value, kinds[key]) or isinstance(value, bool)]
    if wrong:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r:.80}")
    if not HASH.fullmatch(values["sha256"]):
        raise ValueError(f"sha256 is {values['sha256']!r:.80}")
    if "caption" in values and not is_line(values["caption"]):
        raise ValueError(f"a caption is {values['caption']!r:.80}")
    return Item(**values)
