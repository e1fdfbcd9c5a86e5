"""Keep standard output for a command's results: what libraries and plugins print, native code too, goes to stderr."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT, STDERR = 1, 2  # as native code knows them
_kept: list[TextIO] = []  # the stream of results, and the one that Python began with, whose end would close STDOUT


@contextmanager
def results_alone() -> Iterator[None]:
    """Let `print` in the block write results, while all else that writes to the number of stdout writes to stderr.

    Threads that plugins leave, and what they do when the interpreter ends, come after the results, and go to stderr.
    Where `sys.stdout` is no longer the process's own, whoever took it decides.
    """
    for name in ("stdout", "stderr"):  # one that was closed would lend its number to the next file that is opened
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  as long as the process
    if sys.stdout is sys.__stdout__ and not _kept:
        with suppress(OSError, ValueError, AttributeError):  # there is none
            _separate()
    if not _kept:
        yield
        return
    sys.stdout = _kept[0]
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout = sys.stderr


def _separate() -> None:
    first = sys.stdout
    first.flush()
    os.fstat(STDERR)
    number = os.dup(first.fileno())
    os.dup2(STDERR, STDOUT)
    stream = os.fdopen(number, "w", encoding=first.encoding, errors=first.errors)  # as long as the process
    _kept.extend((stream, first))
    vars(sys)["__stdout__"] = stream  # of which the width of a terminal is asked
