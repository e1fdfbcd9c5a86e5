"""One process at a time in a folder of results."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, against other processes; the system lets go of it with the process.

    A folder that was made for it goes again if nothing was written into it, as of a command that was refused.

    Raises:
        ConfigError: another process holds it.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"another process is at work in {folder}; wait for it, or choose another --out") from None
    try:
        yield
    finally:
        _clear(folder, made)
        lock.release()


def _clear(folder: Path, made: Iterable[Path]) -> None:
    """Remove the lock where there is nothing else, and the empty ones of these folders, the innermost first."""
    if [path.name for path in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for each in made:
                each.rmdir()
