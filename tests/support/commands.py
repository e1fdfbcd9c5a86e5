"""`dragon` as a process, and what became of the processes that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DRAGON = (sys.executable, "-m", "dragon_train.cli")
PATIENCE = 120.0  # seconds, on a machine that is busy


def begun(
    *arguments: object, cwd: Path, stdout: int | None = subprocess.PIPE, alone: bool = False
) -> subprocess.Popen[str]:
    """A command that runs in a folder, with the sets and settings that are there; `alone` is in a group of its own."""
    own = {"DRAGON_EXEMPLARS": "sets", "DRAGON_HEADS": "heads", "DRAGON_REMOTES": "remotes.json"}
    own = {name: str(cwd / place) for name, place in own.items()}
    return subprocess.Popen(
        [*DRAGON, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | own,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=alone,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def dragon(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    """Run a command to its end."""
    return ended(begun(*arguments, cwd=cwd))


def wait_until(met: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if met():
            return
        time.sleep(0.05)
    raise TimeoutError


def is_alive(process: int) -> bool:
    """Whether a process computes still; one that nobody has waited for does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def is_group(leader: int) -> bool:
    """Whether a process of this group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
