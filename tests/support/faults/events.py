"""Counts what a process, and every process that it forks, does to files, and kills them all at a moment that is named.

An event is an audit event of Python that changes a file or a folder, the moment after a file was opened for writing
(it is there, and empty), each statement to SQLite, and the moments before and after each write by native code.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sqlite3
import sys
from functools import wraps
from importlib import import_module
from mmap import mmap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown"),
    *("os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile", "tempfile.mkstemp", "tempfile.mkdtemp"),
    *("sqlite3.connect", "fcntl.flock", "fcntl.lockf"),
}
NATIVE = (  # what writes files without Python's knowledge
    ("safetensors.torch", "serialize_file"),
    ("torch", "save"),
    ("soundfile", "write"),
    ("pyarrow.parquet", "write_table"),
)
STEP = 8  # bytes of the counter that processes share


class Events:
    """The events of this process from now on; each is a line of the trace, and at the last one all is over.

    Args:
        trace: descriptor of the file that each event is written to.
        last: the number of the event at which the process group is killed; 0 is never.
    """

    def __init__(self, trace: int, last: int) -> None:
        self.trace, self.last, self.count = trace, last, mmap(-1, STEP)
        sys.addaudithook(self.audited)
        self.opened(io.open)
        self.traced(sqlite3.connect)
        for module, name in NATIVE:
            self.bracketed(import_module(module), name)

    def happened(self, what: str, where: object) -> None:
        """Count an event, and end the process group if it is the last."""
        number = int.from_bytes(self.count[:]) + 1
        self.count[:] = number.to_bytes(STEP)
        os.write(self.trace, f"{number} {os.getpid()} {what} {where}\n".encode(errors="backslashreplace"))
        if number == self.last:
            os.killpg(0, signal.SIGKILL)

    def audited(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The hook: what changes files counts."""
        if event in CHANGES or (event == "open" and arguments[2] & WRITING and not is_device(arguments[0])):
            self.happened(event, arguments[0] if arguments else "")

    def opened(self, inner: Callable[..., Any]) -> None:
        """Count when a file has been opened for writing, too: it is there, and nothing is in it."""

        @wraps(inner)
        def outer(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            made = inner(file, mode, *rest, **named)
            if mode.strip("rbtU") and not is_device(file):
                self.happened("opened", file)
            return made

        io.open = builtins.open = outer

    def traced(self, inner: Callable[..., sqlite3.Connection]) -> None:
        """Count each statement to SQLite before it runs."""

        @wraps(inner)
        def outer(*given: Any, **named: Any) -> sqlite3.Connection:
            connection = inner(*given, **named)
            connection.set_trace_callback(lambda statement: self.happened("sql", " ".join(statement.split())))
            return connection

        sqlite3.connect = outer  # type: ignore[assignment]

    def bracketed(self, module: Any, name: str) -> None:
        """Count before and after each call of a function that writes natively."""
        inner = getattr(module, name)

        @wraps(inner)
        def outer(*given: Any, **named: Any) -> Any:
            self.happened("before", name)
            result = inner(*given, **named)
            self.happened("after", name)
            return result

        setattr(module, name, outer)


def is_device(path: object) -> bool:
    """Whether it is no file of a file system: a descriptor, or below /dev or /proc."""
    return isinstance(path, int) or os.fsdecode(path).startswith(("/dev/", "/proc/"))  # type: ignore[arg-type]
