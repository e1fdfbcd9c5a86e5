"""The tests' side of the nursery: commands as processes that are killed, short of disk or without rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTS = Path(__file__).parents[2]
KILLED = -9
TOKEN = "one-token"  # noqa: S105  of servers that the tests start


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit code (-9 if it was killed), what it said, and its events."""

    code: int
    out: str
    err: str
    events: tuple[str, ...]


def surroundings(folder: Path) -> dict[str, str]:
    """An environment that keeps all that a user has, the cache but off, in a folder."""
    return {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "DRAGON_EXEMPLARS": str(folder / "sets"),
        "DRAGON_HEADS": str(folder / "heads"),
        "DRAGON_REMOTES": str(folder / "remotes.json"),
        "DRAGON_CACHE": str(folder / "cache"),
        "DRAGON_TOKEN": TOKEN,
        "XDG_DATA_HOME": "",
        "XDG_CONFIG_HOME": "",
        "XDG_CACHE_HOME": "",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Nursery:
    """`faults.nursery` in a process."""

    def __init__(self, notes: Path) -> None:
        self.notes = notes  # folder of what children say, and of their events
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.faults.nursery"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, folder: Path, *arguments: object, **how: Any) -> Done:
        """Run `dragon` with these arguments in a folder; `how` as of `begin`."""
        return self.together(folder, [arguments], **how)[0]

    def together(self, folder: Path, commands: Sequence[Sequence[object]], **how: Any) -> list[Done]:
        """Run several commands that begin at once."""
        self.begin(folder, commands, **how)
        return self.end()

    def begin(
        self,
        folder: Path,
        commands: Sequence[Sequence[object]],
        *,
        last: int = 0,
        largest: int = 0,
        unprivileged: bool = False,
    ) -> list[int]:
        """Start commands; their process ids, which are those of their groups.

        Args:
            folder: where they run, and where the user's own files are.
            commands: the arguments of each.
            last: the event at which they are killed; 0 is never.
            largest: bytes of a file above which a write fails, as on a full disk; 0 is no limit.
            unprivileged: whether they mind the modes of files even if the tests are root's.
        """
        (folder / "tmp").mkdir(exist_ok=True)
        self.jobs = [
            {
                "arguments": list(map(str, arguments)),
                "folder": str(folder),
                "environment": surroundings(folder),
                **{name: str(self.notes / f"{name}-{at}") for name in ("out", "err", "modules", "trace")},
                **({"trace": ""} if largest else {}),  # which would be too large, too
                "last": last,
                "largest": largest,
                "unprivileged": unprivileged,
            }
            for at, arguments in enumerate(commands)
        ]
        for note in self.notes.iterdir():
            note.unlink()
        assert self.process.stdin
        self.process.stdin.write(json.dumps(self.jobs) + "\n")
        self.process.stdin.flush()
        children: list[int] = self.reply()
        return children

    def end(self) -> list[Done]:
        """Wait for what was begun."""
        codes: list[int] = self.reply()
        return [done(code, job) for code, job in zip(codes, self.jobs, strict=True)]

    def has_ended(self) -> bool:
        """Whether all that was begun has ended."""
        assert self.process.stdout
        return bool(select([self.process.stdout], [], [], 0)[0])

    def reply(self) -> Any:
        """The next line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the nursery has ended"
        return json.loads(line)

    def close(self) -> None:
        """No more commands."""
        self.process.communicate()


def done(code: int, job: dict[str, Any]) -> Done:
    """What is left of a command."""
    out, err, trace = (
        Path(job[name]).read_text(encoding="utf-8", errors="backslashreplace") if Path(job[name]).is_file() else ""
        for name in ("out", "err", "trace")
    )
    return Done(code, out, err, tuple(trace.splitlines()))
