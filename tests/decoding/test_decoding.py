"""Whatever is in a file, the answer is a value of its type or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import converted, decode_json, decode_toml, read_json


@dataclass(frozen=True)
class Kept:
    name: str
    count: Annotated[int, Meta(ge=0)] = 0
    rows: tuple[float, ...] = ()


NONE = [
    b"",
    b"{",
    b"[]",
    b'{"count": 1}',
    b'{"name": 3}',
    b'{"name": "a", "count": -1}',
    b'{"name": "a", "rows": [NaN]}',
    b'{"name": "a", "count": 1e400}',
    b'{"name": "a", "rows": ["1"]}',
    b'{"name": "\xff"}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("content", NONE)
def test_what_is_no_such_value_is_refused_by_place(content: bytes) -> None:
    with pytest.raises(DragonError, match=r"^here cannot be read .*; write it again$"):
        decode_json(content, Kept, "here", "write it again")


def test_what_is_one_is_read() -> None:
    assert decode_json('{"name": "a", "rows": [1, 2.5]}', Kept, "here", "") == Kept("a", 0, (1.0, 2.5))
    assert decode_toml('name = "a"\ncount = 2', Kept, "here", "") == Kept("a", 2)
    assert converted({"name": "a"}, Kept, "here", "") == Kept("a")


def test_files_that_are_missing_or_too_large_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(DragonError, match=r"none\.json.*No such file"):
        read_json(tmp_path / "none.json", Kept, "write it again")
    (tmp_path / "large.json").write_text('{"name": "a"}' + " " * 100, encoding="utf-8")
    with pytest.raises(DragonError, match="larger than 50 bytes"):
        read_json(tmp_path / "large.json", Kept, "write it again", largest=50)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_give_a_value_or_a_refusal(content: bytes) -> None:
    for decode in (decode_json, decode_toml):
        try:
            found: object = decode(content, Kept, "here", "write it again")
        except DragonError as refusal:
            found = refusal
        assert isinstance(found, Kept) or str(found).startswith("here cannot be read")
