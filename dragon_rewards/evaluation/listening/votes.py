"""The SQLite file of a listening test: its plan, its raters, and a row for each vote that only ever is added.

When a trial's sounds were first sent is kept, too: a server that is started anew knows who had time to hear them.

A vote is acknowledged when it is on the disk (write-ahead log, `synchronous=FULL`), so that a kill loses none.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.listening.plan import DAMAGED, Kind, Plan, Side, Trial
from dragon_rewards.storage.decoding import Count, converted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDES = ("left", "right")
PATIENCE = 30.0  # s: how long a writer waits for another
APPLICATION = 0x64726C74  # "drlt": marks the files of listening tests
SCHEMA = f"""
PRAGMA application_id = {APPLICATION};
CREATE TABLE IF NOT EXISTS plan (one INTEGER PRIMARY KEY CHECK (one = 1), content TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS raters (name TEXT PRIMARY KEY, seat INTEGER UNIQUE NOT NULL, token TEXT UNIQUE NOT NULL)
    STRICT;
CREATE TABLE IF NOT EXISTS votes (
    rater TEXT NOT NULL REFERENCES raters (name), trial INTEGER NOT NULL, pair INTEGER NOT NULL, kind TEXT NOT NULL,
    left TEXT NOT NULL, choice TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL, UNIQUE (rater, trial)) STRICT;
CREATE TABLE IF NOT EXISTS sounds (
    rater TEXT NOT NULL REFERENCES raters (name), trial INTEGER NOT NULL, side TEXT NOT NULL, at REAL NOT NULL,
    UNIQUE (rater, trial, side)) STRICT;
CREATE TRIGGER IF NOT EXISTS votes_stay BEFORE UPDATE ON votes BEGIN SELECT RAISE(ABORT, 'votes stay'); END;
CREATE TRIGGER IF NOT EXISTS votes_remain BEFORE DELETE ON votes BEGIN SELECT RAISE(ABORT, 'votes stay'); END;
"""


class Choice(StrEnum):
    """The side that a rater prefers, or neither."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"


Row = tuple[str, Count, Count, Kind, Side, Choice, float]  # of the table of votes, without its time


class OutOfTurnError(DragonError):
    """A rater voted on another trial than the next one."""


@dataclass(frozen=True)
class Rater:
    """A person who votes.

    Attributes:
        name: the name that the rater gave.
        seat: the number of the rater, from 0, which fixes the order of the trials.
        token: the secret by which the rater's page speaks for the rater.
    """

    name: str
    seat: int
    token: str


@dataclass(frozen=True)
class Vote:
    """What a rater chose in a trial.

    Attributes:
        rater: the rater's name.
        trial: the number of the trial in the rater's seat, from 0.
        heard: the trial.
        choice: what was chosen.
        seconds: how long after the trial's sounds were there.
    """

    rater: str
    trial: int
    heard: Trial
    choice: Choice
    seconds: float

    @property
    def preferred(self) -> Side | None:
        """The folder that was preferred; None for a tie, and for identical pairs."""
        if self.choice is Choice.TIE or self.heard.kind is Kind.IDENTICAL:
            return None
        return self.heard.left if self.choice is Choice.LEFT else self.heard.right


class VoteFile:
    """The file of votes at a path, made if there is none; threads and processes may share it.

    Raises:
        DragonError: the file is no database, belongs to another program, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if self._writable:
            _make_private(path)
        with self._open() as connection:
            self._check_ours(connection)
            if self._writable:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(SCHEMA)

    @property
    def _writable(self) -> bool:
        """Whether votes can be added; what lies on a disk that cannot be written is read as it is."""
        return all(os.access(place, os.W_OK) for place in (self.path, self.path.parent) if place.exists())

    @property
    def _address(self) -> str:
        """The address that SQLite opens.

        SQLite would make files beside a file that cannot be written, unless it is told that nobody writes.
        """
        address = self.path.absolute().as_uri()
        if self._writable:
            return address
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.is_file() and log.stat().st_size:
            raise DragonError(
                f"'{self.path}' cannot be written, and votes of it are in '{log}' still: copy both elsewhere"
            )
        return f"{address}?immutable=1"

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise DragonError(f"'{self.path}' is the database of another program; give another path")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a connection of its own for each use; statements outside a transaction commit by themselves."""
        try:
            opened = sqlite3.connect(self._address, timeout=PATIENCE, isolation_level=None, uri=True)
            with closing(opened) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                yield connection
        except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:
            raise DragonError(f"'{self.path}' cannot be used as the file of votes ({error}); {DAMAGED}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that no other writer enters between what it reads and what it writes."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back when something is raised
                yield connection

    def plan(self) -> Plan | None:
        """Return the plan that the file keeps; None if there is none yet."""
        with self._open() as connection:
            row = connection.execute("SELECT content FROM plan").fetchone()
        return row and Plan.from_json(row[0], f"the plan in '{self.path}'")

    def begin(self, plan: Plan) -> None:
        """Keep a plan, unless another process has begun meanwhile: a file has one for good."""
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO plan VALUES (1, ?)", (plan.to_json(),))

    def enter(self, name: str) -> Rater:
        """Return the rater of a name, who gets the next free seat if the name is new."""
        with self._writing() as connection:
            row = ("INSERT OR IGNORE INTO raters SELECT ?, count(*), ? FROM raters", (name, token_urlsafe()))
            connection.execute(*row)
            found = connection.execute("SELECT name, seat, token FROM raters WHERE name = ?", (name,)).fetchone()
        return Rater(*found)

    def rater(self, token: str) -> Rater | None:
        """Return the rater whose token this is; None if it is nobody's."""
        with self._open() as connection:
            row = connection.execute("SELECT name, seat, token FROM raters WHERE token = ?", (token,)).fetchone()
        return row and Rater(*row)

    def raters(self) -> list[Rater]:
        """Return all raters, in the order in which they came."""
        with self._open() as connection:
            rows = connection.execute("SELECT name, seat, token FROM raters ORDER BY seat").fetchall()
        checked = converted(rows, list[tuple[str, Count, str]], f"the raters in '{self.path}'", DAMAGED)
        return [Rater(*row) for row in checked]

    def done(self, rater: Rater) -> int:
        """Return how many votes a rater has cast, which is the number of the rater's next trial."""
        with self._open() as connection:
            return _count(connection, rater.name)

    def send(self, rater: Rater, trial: int, side: str) -> None:
        """Note that a sound of a trial, `left` or `right`, is sent; only the first time counts."""
        with self._writing() as connection:
            connection.execute("INSERT OR IGNORE INTO sounds VALUES (?, ?, ?, ?)", (rater.name, trial, side, time()))

    def since_sent(self, rater: Rater, trial: int) -> float | None:
        """Return the seconds since the later of a trial's two sounds was first sent; None unless both were."""
        query = "SELECT count(*), max(at) FROM sounds WHERE rater = ? AND trial = ?"
        with self._open() as connection:
            sides, last = connection.execute(query, (rater.name, trial)).fetchone()
        return time() - last if sides == len(SIDES) else None

    def add(self, vote: Vote) -> None:
        """Keep a vote; to send one again changes nothing.

        Raises:
            OutOfTurnError: it is not the rater's next, or a different one was cast.
        """
        with self._writing() as connection:
            done = _count(connection, vote.rater)
            if vote.trial == done:
                row = (vote.rater, vote.trial, *astuple(vote.heard), vote.choice, vote.seconds, datetime.now(UTC))
                connection.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row[:-1], str(row[-1])))
            elif not _cast(connection, vote):
                raise OutOfTurnError(f"trial {vote.trial} is not the next, which is {done}; load the page again")

    def votes(self) -> list[Vote]:
        """Return all votes, in the order in which they were cast."""
        columns = "rater, trial, pair, kind, left, choice, seconds"
        with self._open() as connection:
            rows = connection.execute(f"SELECT {columns} FROM votes ORDER BY rowid").fetchall()  # noqa: S608  a constant
        checked = converted(rows, list[Row], f"the votes in '{self.path}'", DAMAGED)
        return [
            Vote(rater, trial, Trial(pair, kind, left), choice, seconds)
            for rater, trial, pair, kind, left, choice, seconds in checked
        ]


def _make_private(path: Path) -> None:
    """Make a new file its owner's alone, as it holds raters' tokens; what SQLite puts beside it has the same rights."""
    with suppress(OSError):  # SQLite tells of it
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _count(connection: sqlite3.Connection, rater: str) -> int:
    return int(connection.execute("SELECT count(*) FROM votes WHERE rater = ?", (rater,)).fetchone()[0])


def _cast(connection: sqlite3.Connection, vote: Vote) -> bool:
    query = "SELECT 1 FROM votes WHERE rater = ? AND trial = ? AND choice = ?"
    return connection.execute(query, (vote.rater, vote.trial, vote.choice)).fetchone() is not None
