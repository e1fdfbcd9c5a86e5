"""What becomes of a file: cut, garbled, or with another value in the place of one."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypothesis import strategies as st

NASTY = [
    b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 40, b'"x"', b"[]", b"{}", b"[[]]", b"[" * 2000, b"",
    b'"\xff"', b'"\\u0000"', b'"\\ud800"', b"0.5",
]  # fmt: skip
VALUE = re.compile(rb'"[^"]*"|-?\d+(\.\d+)?|\[[^\[\]]*\]')
Change = Callable[[bytes], bytes]


def cut(share: float) -> Change:
    """Its beginning alone."""
    return lambda content: content[: int(share * len(content))]


def flipped(place: float, bit: int) -> Change:
    """One bit is another."""

    def change(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]

    return change


def garbled(place: float, noise: bytes) -> Change:
    """Noise stands in the place of some bytes."""

    def change(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + noise + content[at + len(noise) :]

    return change


def exchanged(place: float, value: bytes) -> Change:
    """Another value stands in the place of a text, a number or a list."""

    def change(content: bytes) -> bytes:
        found = [*(VALUE.finditer(content)), *re.finditer(rb"\A", content)]
        at = found[int(place * max(1, len(found) - 1))]
        return content[: at.start()] + value + content[at.end() :]

    return change


PLACE = st.floats(0, 1, exclude_max=True)
CHANGES = st.one_of(
    st.builds(cut, PLACE),
    st.builds(flipped, PLACE, st.integers(0, 7)),
    st.builds(garbled, PLACE, st.binary(min_size=1, max_size=8)),
    st.builds(exchanged, PLACE, st.sampled_from(NASTY)),
    st.sampled_from(NASTY).map(lambda value: lambda _: value),
)
