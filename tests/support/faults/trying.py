"""Tries bad files of a kind, one after the other, in a folder of good ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings

from support.faults.forks import Done, surroundings
from support.faults.kinds import URL, Kind
from support.faults.running import Ran, fate, last_of_traceback, restore, run, snapshot

if TYPE_CHECKING:
    import pytest

    from support.faults.forks import Nursery
    from support.faults.tally import Tally

Try = Callable[[Kind], None]
SHOWN = 300  # bytes of a bad file that escaped


def attempt(kind: Kind, folder: Path, nursery: Nursery, tally: Tally, patch: pytest.MonkeyPatch) -> None:
    """Try as many bad files of a kind as it says, in a folder that is then as it was."""
    for name, value in surroundings(folder).items():
        patch.setenv(name, value)
    patch.chdir(folder)
    (folder / "tmp").mkdir(exist_ok=True)
    whole = snapshot(folder)
    if kind.without:
        (folder / kind.without).unlink()
    path = next(iter(sorted(folder.glob(kind.file))))
    good, kept = path.read_bytes(), snapshot(folder)

    url = (folder / "url").read_text() if (folder / "url").is_file() else ""
    arguments = [url if argument == URL else argument for argument in kind.reads]

    def read() -> Ran:
        if kind.how == "here":
            return run(arguments)
        done = nursery.run(folder, *arguments) if kind.how == "forked" else fresh(arguments)
        return Ran(done.code, done.out, done.err, last_of_traceback(done.err))

    wanted = read()
    assert wanted.code == 0, wanted
    made = snapshot(folder)
    restore(folder, kept)

    @settings(
        max_examples=kind.tries,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.bad(good))
    def each(bad: bytes) -> None:
        path.write_bytes(bad)
        ran = read()
        found = snapshot(folder)
        restore(folder, kept)
        own = str(path.relative_to(folder))
        changed = [name for name in {*found, *made} - {own, kind.becomes} if found.get(name) != made.get(name)]
        became, wrong = fate(
            Ran(ran.code, kind.shown(ran.out) if ran.code == 0 else "", ran.err, ran.raised),
            Ran(0, kind.shown(wanted.out), ""),
            (path.name, *kind.names),
            [name for name in changed if not name.startswith(("tmp/", "cache/"))],
            sealed=kind.sealed,
        )
        tally.add(became, wrong, f"{bad[:SHOWN]!r} ({len(bad)} bytes): {ran.raised or ran.err[-SHOWN:]}")

    each()
    restore(folder, whole)


def fresh(arguments: Sequence[object]) -> Done:
    """Run `dragon` in an interpreter of its own."""
    command = [sys.executable, "-m", "dragon_train.cli", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", check=False)
    return Done(ended.returncode, ended.stdout, ended.stderr, ())
