"""One process at a time in a folder: of results while it is at work there, of settings while it changes them."""

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
    """Hold a folder, made if need be, against other processes; the system lets go of it with the process.

    A folder that was made for it goes again if nothing was written into it, as of a command that was refused.

    Args:
        folder: where the lock is.
        name: of the lock's file: `LOCK` is the whole folder's.
        wait: seconds to wait for another process; none where it may be at work for hours.

    Raises:
        ConfigError: another process holds it.
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
    """Remove the lock where there is nothing else, and the empty ones of these folders, the innermost first."""
    if [path.name for path in lock.parent.iterdir()] == [lock.name]:
        lock.unlink(missing_ok=True)
        for each in made:
            each.rmdir()
