"""A listening test that is killed at any file-system event: every vote that was acknowledged stays, and it goes on."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import soundfile
from support.faults import material, workshop
from support.faults.tally import Fate

from faults.test_kills import chosen

if TYPE_CHECKING:
    from support.faults.forks import Nursery
    from support.faults.tally import Tally

pytestmark = pytest.mark.slow

SECONDS, PAIRS, SAMPLE = 0.4, 3, 6
SERVE = ("listen", "serve", "a", "b", "--db", "votes.sqlite", "--repeats", 0, "--identical", 1)
TRIALS = PAIRS + 1


def clips(folder: Path) -> None:
    for name, pitch in (("a", 220.0), ("b", 330.0)):
        (folder / name).mkdir(parents=True)
        for pair in range(PAIRS):
            sound: np.ndarray = material.sound(SECONDS, pitch + 40 * pair, seed=pair)
            soundfile.write(folder / name / f"{pair}.wav", sound, material.RATE)


def ask(url: str, body: Any = None) -> Any:
    request = Request(url, headers={"Content-Type": "application/json"})  # noqa: S310  local
    with urlopen(request, None if body is None else json.dumps(body).encode(), timeout=30) as answer:  # noqa: S310
        content = answer.read()
    return json.loads(content) if content[:1] == b"{" else content


def rate(url: str) -> int:
    """Take the test from where it is; how many votes are acknowledged, until the end or until the server is gone."""
    acknowledged = 0
    try:
        rater = f"{url}/raters/{ask(f'{url}/raters', {'name': 'Ann'})['token']}"
        acknowledged = ask(rater)["done"]
        while acknowledged < TRIALS:
            for side in ("left", "right"):
                ask(f"{rater}/{acknowledged}/{side}")
            time.sleep(2 * SECONDS)
            acknowledged = ask(f"{rater}/{acknowledged}", {"choice": "left", "seconds": 2 * SECONDS})["done"]
    except (URLError, HTTPException, ConnectionError):
        pass
    return acknowledged


def taken(folder: Path, nursery: Nursery, last: int = 0) -> tuple[int, tuple[str, ...]]:
    """Serve the test to one rater; the votes that were acknowledged, and the server's events."""
    with workshop.serving(folder, nursery, *SERVE, last=last) as url:
        acknowledged = rate(url) if url else 0
    return acknowledged, tuple(Path(str(nursery.jobs[0]["trace"])).read_text(encoding="utf-8").splitlines())


def votes(folder: Path) -> list[tuple[Any, ...]]:
    """The rows of the file; none where the server was killed before it had made the table."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(folder / "votes.sqlite")) as connection:
        return connection.execute("SELECT rater, trial, pair, kind, left, choice FROM votes ORDER BY trial").fetchall()
    return []


def test_an_acknowledged_vote_stays(
    tmp_path: Path, nursery: Nursery, tally: Callable[[str], Tally], pytestconfig: pytest.Config
) -> None:
    counts, whole = tally("kill: votes"), tmp_path / "whole"
    clips(whole)
    acknowledged, events = taken(whole, nursery)
    wanted = votes(whole)
    assert acknowledged == len(wanted) == TRIALS
    for last in chosen(len(events), SAMPLE, everything=pytestconfig.getoption("--all-kills")):
        folder = tmp_path / str(last)
        clips(folder)
        before, trace = taken(folder, nursery, last)
        kept = votes(folder)
        after, _ = taken(folder, nursery)
        lost = f"{before} acknowledged, {len(kept)} kept" if len(kept) < before else ""
        lost = lost or ("" if votes(folder) == wanted and after == TRIALS else f"other votes: {votes(folder)}")
        counts.add(Fate.LOST if lost else Fate.RECOMPUTED, lost, trace[-1] if trace else "")
    counts.check()
