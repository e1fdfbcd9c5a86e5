"""Strategies that make bad files of good ones: of any bytes, and of JSON, TOML, tables and safetensors."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import SearchStrategy

    Bad = SearchStrategy[bytes]

DEEP = 100_000
RAW = (  # of JSON, in place of any value
    "null", "true", "-1", "0", "1.5", "1e308", "1e999", "-1e999", "1" + "0" * 400, "99999999999", "NaN", "Infinity",
    '""', '"x"', '"1"', '"nan"', '"' + "x" * 100_000 + '"', '"\\ud800"', '"\\u0000"', '"\\u001b[2J"', '"../../etc"',
    "[]", "{}", "[[]]", '[null, 1, "x"]', '{"a": {"b": 1}}', "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP,
)  # fmt: skip
TOML = (
    "true", "-1", "0", "1.5", "nan", "-inf", "1e400", "9" * 30, '""', '"x"', '"\\u0000"', '"\\u001b[2J"', "[]", "{}",
    '["x", 1]', "{ a = { b = 1 } }", "1979-05-27", "[" * 5000 + "]" * 5000, '"' + "x" * 100_000 + '"', "", "=", "0x1G",
)  # fmt: skip
CELLS = (
    "",
    "nan",
    "inf",
    "-1",
    "1e400",
    "x",
    '"',
    '"a,b"',
    "=1+1",
    "\x00",
    "\ud7ff",
    "9" * 400,
    "a,b,c,d",
    "\r",
    "1;2",
)
INVADERS = (
    b"\xff\xfe",
    b"\0" * 64,
    b"\xef\xbb\xbf",
    b'"',
    b"\n",
    b"\r\n",
    b"{",
    b"]",
    b"NaN",
    b"\xc3\x28",
    b"\xed\xa0\x80",
)
WHOLES = (
    b"",
    b"\0",
    b"\0" * 4096,
    b"\xff" * 100,
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b"1" * 5000,
)


def damaged(good: bytes) -> Bad:
    """Truncated, garbled, with bytes too many or a piece missing, or something else altogether."""
    at = st.integers(0, max(len(good) - 1, 0))
    garbled = st.lists(st.tuples(at, st.integers(0, 255)), min_size=1, max_size=8)
    return st.one_of(
        at.map(lambda end: good[:end]),
        at.map(lambda start: good[start:]),
        garbled.map(lambda places: garble(good, places)),
        st.tuples(at, st.sampled_from(INVADERS)).map(lambda new: good[: new[0]] + new[1] + good[new[0] :]),
        st.tuples(at, at).map(lambda ends: good[: min(ends)] + good[max(ends) :]),
        st.sampled_from((*WHOLES, good + good)),
    )


def garble(good: bytes, places: list[tuple[int, int]]) -> bytes:
    """Other bytes at some places."""
    changed = bytearray(good)
    for at, byte in places if good else ():
        changed[at] = byte
    return bytes(changed)


class Raw(str):
    """Text that stands in JSON as it is."""

    __slots__ = ()


def dumped(value: Any) -> str:
    """As JSON, with what is raw as it is; an object may be a tuple of pairs, whose keys may come twice."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        value = tuple(value.items())
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumped(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumped, value)) + "]"
    return json.dumps(value)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a tree, itself included."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def changed(tree: Any, path: tuple[Any, ...], change: Callable[[Any, Any], Any]) -> Any:
    """A copy in which the container of the last step is what `change` makes of it and that step."""
    if len(path) == 1:
        return change(deepcopy(tree), path[0])
    inner = changed(tree[path[0]], path[1:], change)
    whole = dict(tree) if isinstance(tree, dict) else list(tree)
    whole[path[0]] = inner
    return whole


def put(value: Any) -> Callable[[Any, Any], Any]:
    """Another value at a place."""

    def change(held: Any, key: Any) -> Any:
        held[key] = value
        return held

    return change


def taken(held: Any, key: Any) -> Any:
    """Without it."""
    del held[key]
    return held


def renamed(held: Any, key: Any) -> Any:
    """Under another name; of a list, twice."""
    if isinstance(held, list):
        return [*held, held[key]]
    return {f"{name}2" if name == key else name: item for name, item in held.items()}


def twice(value: Any) -> Callable[[Any, Any], Any]:
    """With another value under the same key before, or after it in a list."""

    def change(held: Any, key: Any) -> Any:
        if isinstance(held, list):
            return [*held[: key + 1], value, *held[key + 1 :]]
        return ((key, value), *held.items())

    return change


def trees(tree: Any, values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A tree with one place of it changed."""
    spots = [path for path in places(tree) if path]
    if not spots:
        return values
    spot = st.sampled_from(spots)
    changes = st.one_of(values.map(put), values.map(put), values.map(twice), st.sampled_from((taken, renamed)))
    return st.one_of(
        st.tuples(spot, changes).map(lambda chosen: changed(tree, *chosen)),
        st.tuples(spot, changes).map(lambda chosen: changed(tree, *chosen)),
        values,
    )


def of_json(good: bytes) -> Bad:
    """Of a JSON file."""
    shaped = trees(json.loads(good), st.sampled_from(RAW).map(Raw)).map(dumped)
    return st.one_of(damaged(good), shaped.map(encoded), shaped.map(encoded))


def of_lines(good: bytes) -> Bad:
    """Of a file of JSON lines."""
    lines = good.decode().splitlines()

    def with_line(at: int) -> Bad:
        shaped = trees(json.loads(lines[at]), st.sampled_from(RAW).map(Raw)).map(dumped)
        return shaped.map(lambda line: encoded("\n".join([*lines[:at], line, *lines[at + 1 :], ""])))

    shaped = st.integers(0, len(lines) - 1).flatmap(with_line)
    return st.one_of(damaged(good), shaped, shaped)


def of_toml(good: bytes) -> Bad:
    """Of a TOML file: a value, a line, or bytes."""
    lines = good.decode().splitlines()
    valued = [at for at, line in enumerate(lines) if " = " in line]

    def valued_with(chosen: tuple[int, str]) -> bytes:
        key = lines[chosen[0]].partition(" = ")[0]
        return encoded("\n".join([*lines[: chosen[0]], f"{key} = {chosen[1]}", *lines[chosen[0] + 1 :]]))

    def lined_with(chosen: tuple[int, list[str]]) -> bytes:
        return encoded("\n".join([*lines[: chosen[0]], *chosen[1], *lines[chosen[0] + 1 :]]))

    others = [*lines, "[x]", "[[x]]", "x = 1", "[train]", "name = 1"]
    value = st.tuples(st.sampled_from(valued), st.sampled_from(TOML)).map(valued_with)
    line = st.tuples(st.integers(0, len(lines) - 1), st.lists(st.sampled_from(others), max_size=2)).map(lined_with)
    return st.one_of(damaged(good), value, value, line)


def of_table(good: bytes) -> Bad:
    """Of a CSV file: a cell, or bytes."""
    rows = [line.split(",") for line in good.decode().splitlines()]

    def with_cell(chosen: tuple[int, int, str]) -> bytes:
        changed = deepcopy(rows)
        row = changed[chosen[0] % len(rows)]
        row[chosen[1] % len(row)] = chosen[2]
        return encoded("\n".join(map(",".join, changed)) + "\n")

    many = st.integers(0, 1000)
    return st.one_of(damaged(good), st.tuples(many, many, st.sampled_from(CELLS)).map(with_cell))


def of_safetensors(good: bytes) -> Bad:
    """Of a safetensors file: its header, the length of that, or what the tensors hold."""
    length = int.from_bytes(good[:8], "little")
    header, body = json.loads(good[8 : 8 + length]), good[8 + length :]
    shaped = trees(header, st.sampled_from(RAW).map(Raw)).map(dumped)
    lengths = st.sampled_from((0, 1, 7, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))
    numbers = st.sampled_from([number_bytes(value) for value in (math.nan, math.inf, -1.0, 0.0, 1e300)])
    at = st.integers(0, max(len(body) // 8 - 1, 0))
    return st.one_of(
        damaged(good),
        shaped.map(lambda text: joined(encoded(text), body)),
        shaped.map(lambda text: joined(encoded(text), body)),
        lengths.map(lambda wrong: wrong.to_bytes(8, "little") + good[8:]),
        st.tuples(at, numbers).map(lambda new: good[: 8 + length] + patched(body, 8 * new[0], new[1])),
    )


def number_bytes(value: float) -> bytes:
    """A float64 as it is stored."""
    import struct

    return struct.pack("<d", value)


def joined(header: bytes, body: bytes) -> bytes:
    """A safetensors file of a header and a body."""
    return len(header).to_bytes(8, "little") + header + body


def patched(body: bytes, at: int, new: bytes) -> bytes:
    """Other bytes at a place."""
    return body[:at] + new + body[at + len(new) :]


def encoded(text: str) -> bytes:
    """UTF-8; what is none stays what it is."""
    return text.encode("utf-8", "surrogatepass")
