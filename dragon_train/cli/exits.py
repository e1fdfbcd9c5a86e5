"""The ends of a command that cannot go on: a file that cannot be used, output that nobody takes, a signal."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

REFUSED = 2  # exit code of every refusal, as of a wrong option
TERMINATED = 128 + signal.SIGTERM  # as shells have it of a process that the signal ended
NO_ROOM = "make room on its disk, or choose a place on another"
NO_RIGHT = "get the right to it, or choose another place"
REMEDIES = {
    errno.ENOSPC: NO_ROOM,
    errno.EDQUOT: NO_ROOM,
    errno.EFBIG: NO_ROOM,
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file is where a folder should be: choose another place",
    errno.EEXIST: "something else is there: choose another place",
    errno.EISDIR: "give the path of a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EMFILE: "allow more open files, as by `ulimit -n`",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM has come: the command stops as it does by Ctrl-C, and keeps what it has."""


USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}  # as Python begins


def heed_signals() -> None:
    """Make SIGTERM stop the command as Ctrl-C does, and a second signal end it at once, whatever it does by then.

    What whoever started this process decided otherwise stays.
    """
    for number, handler in USUAL.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in USUAL:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, signal.SIG_DFL)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def end_at_signals() -> None:
    """Make Ctrl-C end this process at once, as SIGTERM does, unless whoever started it decided otherwise.

    Of several processes that train together one waits for the others inside a library, where Python would not hear.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def explained(error: OSError) -> str:
    """Explain an error of the system in a line: which file, what is wrong with it, and the remedy.

    >>> explained(FileNotFoundError(2, "No such file or directory", "a.wav"))
    "'a.wav': No such file or directory; check the path"
    """
    what = f"{error.strerror or error}"
    if error.filename is not None:
        what = f"'{os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename}': {what}"
    elif REMEDIES.get(error.errno or 0) == NO_ROOM:  # files have names
        what = f"output could not be written: {what}"
    remedy = REMEDIES.get(error.errno or 0)
    return f"{what}; {remedy}" if remedy else what


def refuse(message: str) -> None:
    """Say on stderr why the command cannot go on; nothing happens if stderr is closed."""
    with suppress(OSError):
        print(f"dragon: {message}", file=sys.stderr)


def end_stdout() -> None:
    """Make sure that all that was printed has arrived.

    Raises:
        SystemExit: the reader has gone, as `head` does, which needs no message.
        OSError: there was no room.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left would be tried once more by the interpreter
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise SystemExit(1) from error  # as typer ends where a print fails so
        raise
