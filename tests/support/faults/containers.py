"""Strategies that make bad files of those that hold more than text: torch, parquet, SQLite, ZIP."""

from __future__ import annotations

import io
import json
import math
import sqlite3
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from hypothesis import strategies as st

from support.faults.mutating import RAW, Raw, damaged, dumped, encoded, trees

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.faults.mutating import Bad

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    math.nan,
    math.inf,
    "",
    "x",
    [],
    {},
    [None],
    {"a": 1},
    10**400,
    b"x",
    "\x1b[2J",
    ("x", 1),
)
COLUMN = (None, math.nan, math.inf, -1, "x", "", 2**62, True)
STATEMENTS = (
    "DELETE FROM plan",
    "DROP TABLE votes",
    "DROP TABLE plan",
    "DROP TABLE raters",
    "PRAGMA application_id = 7",
    "UPDATE votes SET pair = 1000000 WHERE rowid = 1",
    "UPDATE votes SET pair = -1 WHERE rowid = 1",
    "UPDATE votes SET trial = 9223372036854775807 WHERE rowid = 1",
    "UPDATE votes SET kind = 'x'",
    "UPDATE votes SET left = 'x'",
    "UPDATE votes SET choice = ''",
    "UPDATE votes SET seconds = 9e999",
    "UPDATE votes SET seconds = -1",
    "UPDATE votes SET rater = 'nobody'",
    "UPDATE raters SET name = char(27) || '[2J' WHERE seat = 1",
    "UPDATE raters SET name = '' WHERE seat = 1",
    "UPDATE raters SET seat = -1 WHERE seat = 1",
    "UPDATE raters SET seat = 9223372036854775807 WHERE seat = 1",
    "DELETE FROM raters",
    "CREATE TABLE more (x)",
    "ALTER TABLE votes RENAME COLUMN choice TO chosen",
    "UPDATE plan SET content = CAST(X'C328' AS TEXT)",
)


def of_checkpoint(good: bytes) -> Bad:
    """Of a file of `torch.save`: its bytes, its pickle, a member that is missing, or what it holds."""
    state = torch.load(io.BytesIO(good), weights_only=True)
    tensors = st.sampled_from((torch.zeros(0), torch.full((3,), math.nan), torch.zeros(2, 2, dtype=torch.int64)))
    shaped = trees(state, st.one_of(st.sampled_from(VALUES), tensors)).map(stored)
    names = zipfile.ZipFile(io.BytesIO(good)).namelist()
    without = st.sampled_from(names).map(
        lambda name: rezipped(good, lambda each, content: None if each == name else content)
    )
    pickle = next(name for name in names if name.endswith("data.pkl"))
    broken = damaged(zipfile.ZipFile(io.BytesIO(good)).read(pickle)).map(
        lambda bad: rezipped(good, lambda each, content: bad if each == pickle else content)
    )
    return st.one_of(damaged(good), shaped, shaped, without, broken)


def stored(state: Any) -> bytes:
    """As `torch.save` has it."""
    held = io.BytesIO()
    torch.save(dict(state) if isinstance(state, tuple) and state and isinstance(state[0], tuple) else state, held)
    return held.getvalue()


def rezipped(good: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """A ZIP archive with other members; one that is changed to None is left out."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as before, zipfile.ZipFile(held, "w") as after:
        for name in before.namelist():
            content = change(name, before.read(name))
            if content is not None:
                after.writestr(name, content)
    return held.getvalue()


def of_parquet(good: bytes) -> Bad:
    """Of a parquet file: its bytes, its columns, its rows, or a value."""
    frame = pd.read_parquet(io.BytesIO(good))
    column = st.sampled_from(list(frame.columns))
    return st.one_of(
        damaged(good),
        column.map(lambda name: written(frame.drop(columns=name))),
        column.map(lambda name: written(frame.rename(columns={name: "other"}))),
        st.tuples(column, st.sampled_from(COLUMN)).map(lambda new: written(frame.assign(**{new[0]: new[1]}))),
        st.sampled_from((0, 1, len(frame) // 2)).map(lambda rows: written(frame.head(rows))),
        st.just(written(pd.concat([frame, frame], ignore_index=True))),
        column.map(lambda name: written(frame.assign(**{name: frame[name].map(str)}))),
    )


def written(frame: pd.DataFrame) -> bytes:
    """As parquet."""
    held = io.BytesIO()
    frame.to_parquet(held, index=False)
    return held.getvalue()


def of_votes(good: bytes) -> Bad:
    """Of an SQLite file of votes: its bytes, its plan, or what a statement does to it, whose triggers are gone."""
    with NamedTemporaryFile() as file:
        file.write(good)
        file.flush()
        connection = sqlite3.connect(file.name)
        plan = json.loads(connection.execute("SELECT content FROM plan").fetchone()[0])
        connection.close()
    planned = trees(plan, st.sampled_from(RAW).map(Raw)).map(dumped)
    return st.one_of(
        damaged(good),
        st.sampled_from(STATEMENTS).map(lambda statement: altered(good, statement)),
        planned.map(lambda text: altered(good, "UPDATE plan SET content = CAST(? AS TEXT)", encoded(text))),
    )


def altered(good: bytes, statement: str, *values: object) -> bytes:
    """A database after a statement."""
    with NamedTemporaryFile() as file:
        file.write(good)
        file.flush()
        connection = sqlite3.connect(file.name, isolation_level=None)
        for trigger in ("votes_stay", "votes_remain"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with suppress(sqlite3.IntegrityError):  # the database lets no one do this
            connection.execute(statement, values)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        return Path(file.name).read_bytes()


def of_archive(good: bytes) -> Bad:
    """Of what `dragon exemplars export` writes: its bytes, or a member with hashes that are right again."""
    members = {
        name: zipfile.ZipFile(io.BytesIO(good)).read(name) for name in zipfile.ZipFile(io.BytesIO(good)).namelist()
    }
    inner = [name for name in members if name != "hashes.json"]

    def with_member(name: str) -> Bad:
        return bad_member(name, members[name]).map(lambda bad: rehashed({**members, name: bad}))

    name = st.sampled_from(inner)
    return st.one_of(
        damaged(good),
        name.flatmap(with_member),
        name.flatmap(with_member),
        name.map(lambda each: rehashed({key: value for key, value in members.items() if key != each})),
        st.sampled_from(("../x.safetensors", "/x.safetensors", "x", "x.safetensors\n")).map(
            lambda odd: rehashed({**members, odd: b"x"})
        ),
    )


def bad_member(name: str, content: bytes) -> Bad:
    """By the suffix of a member's name."""
    from support.faults import mutating

    of = {".json": mutating.of_json, ".jsonl": mutating.of_lines}
    return of.get("." + name.rpartition(".")[2], mutating.of_safetensors)(content)


def rehashed(members: dict[str, bytes]) -> bytes:
    """An archive whose list of hashes fits its members."""
    from hashlib import sha256

    held = io.BytesIO()
    hashes = {name: sha256(content).hexdigest() for name, content in members.items() if name != "hashes.json"}
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in {**members, "hashes.json": json.dumps(hashes).encode()}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return held.getvalue()
