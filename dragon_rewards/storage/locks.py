"""Locks that admit one process at a time: to a folder of results during work, to settings while they are changed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

LOCK = ".lock"
PATIENCE = 60.0  # seconds: what is read, changed and written again takes a second at most


@contextmanager
def locked(folder: Path, name: str = LOCK, wait: float = 0.0) -> Iterator[None]:
    """Lock a folder against other processes during the block; the system releases the lock if the process dies.

    The folder is created if it does not exist. With `wait` 0, a folder that was created here is removed again if
    nothing was written into it, as by a command that was refused.

    Args:
        folder: where the lock is.
        name: the name of the lock file; the default locks the whole folder.
        wait: seconds to wait for another process; 0 where the other process may work for hours.

    Raises:
        ConfigError: another process holds the lock.
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    made = [each for each in (folder, *folder.parents) if not each.exists() and not wait]  # others may wait in them
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / name)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise ConfigError(f"another process is at work in {folder}; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        with suppress(OSError):  # others may be at it, too, or have removed it
            _clear(folder / name, made)
        lock.release()


def _clear(lock: Path, made: Iterable[Path]) -> None:
    """Remove the lock file if the folder holds nothing else, and then the folders `made`, the innermost first."""
    if [path.name for path in lock.parent.iterdir()] == [lock.name]:
        lock.unlink(missing_ok=True)
        for each in made:
            each.rmdir()
