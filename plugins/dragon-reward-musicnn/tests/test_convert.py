"""The reader of TensorFlow's checkpoints, on a small one that is written here byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
KERNEL = np.arange(6, dtype="<f4").reshape(2, 3)
BIAS = np.array([0.5] * 300, "<f4")
DATA = KERNEL.tobytes() + BIAS.tobytes()


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script lies beside the plugin, and is not installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def varint(value: int) -> bytes:
    parts = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([part | 128 for part in parts[:-1]] + parts[-1:])


def entry(kind: int, sides: tuple[int, ...], offset: int, size: int) -> bytes:
    """A BundleEntryProto: type, shape, offset and size, and a checksum that is not read."""
    shape = b"".join(b"\x12" + varint(len(side)) + side for side in (b"\x08" + varint(length) for length in sides))
    return b"".join(
        [b"\x08" + varint(kind), b"\x12" + varint(len(shape)) + shape]
        + ([b"\x20" + varint(offset)] if offset else [])  # protocol buffers leave zeros out
        + [b"\x28" + varint(size), b"\x35abcd"]
    )


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block with one restart, in which each key shares what it can with the key before it, uncompressed."""
    made, before = b"", b""
    for key, value in entries:
        shared = next((at for at, pair in enumerate(zip(before, key, strict=False)) if len(set(pair)) > 1), 0)
        made += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return made + struct.pack("<II", 0, 1)


def index(entries: list[tuple[bytes, bytes]], compression: bytes = b"\0") -> bytes:
    """A table with one block of entries, a block about the table, and the block of blocks."""

    def placed() -> Iterator[tuple[bytes, bytes]]:
        """Each block, and where it is."""
        at = 0
        for content in (block(entries), block([])):
            yield content + compression + b"crc!", varint(at) + varint(len(content))
            at += len(content) + 5
        top = block([(b"z", varint(0) + varint(len(block(entries))))])
        yield top + b"\0crc!", varint(at) + varint(len(top))

    (first, _), (about, about_at), (top, top_at) = placed()
    return first + about + top + (about_at + top_at).ljust(40, b"\0") + MAGIC


ENTRIES = [
    (b"", b"\x08\x01"),  # the header
    (b"layer/bias", entry(1, (300,), KERNEL.nbytes, BIAS.nbytes)),
    (b"layer/kernel", entry(1, (2, 3), 0, KERNEL.nbytes)),
    (b"step", entry(9, (), 0, 8)),  # no float
]


def test_floats_are_read_by_their_names() -> None:
    from convert import variables

    found = variables(index(ENTRIES), DATA)
    assert set(found) == {"layer/bias", "layer/kernel"}
    np.testing.assert_array_equal(found["layer/kernel"], KERNEL)
    np.testing.assert_array_equal(found["layer/bias"], BIAS)


@pytest.mark.parametrize(
    ("table", "reason"), [(index(ENTRIES, b"\1"), "compressed"), (index(ENTRIES)[:-1] + b"?", "no table")]
)
def test_other_tables_are_refused(table: bytes, reason: str) -> None:
    from convert import variables

    with pytest.raises(ValueError, match=reason):
        variables(table, DATA)
