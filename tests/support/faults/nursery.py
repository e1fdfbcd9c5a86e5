"""A process that has imported everything once, and forks a child for each command: what a kill costs is the command.

`python -m faults.nursery` reads a line of JSON for each batch of commands, which all begin at once, and answers with
their process ids and, when they have ended, their exit codes. Children are real processes that run `dragon` from its
`main` to the end of the interpreter, but for three things: modules are there already, the processes of the launcher are
forks, too, so that their events count, and the machine does not tell how much memory it has, as counting what a run
takes is longer than the run, and touches no file.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import io
import json
import os
import resource
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dragon_train.cli import main

MOST_SAID = 2**20  # bytes
CAPABILITIES = 0x20080522  # version 3 of capset(2)


def serve() -> None:
    """Answer until the caller is gone."""
    import torch

    torch.set_num_threads(1)
    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        jobs = json.loads(line)
        begin, release = os.pipe()
        pipes = [heard() if job["largest"] else None for job in jobs]
        children = [born(job, begin, release, pipe) for job, pipe in zip(jobs, pipes, strict=True)]
        print(json.dumps(children), file=replies, flush=True)
        os.close(begin)
        os.close(release)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        for job, pipe in zip(jobs, pipes, strict=True):
            learn(Path(job["modules"]))
            if pipe:
                note(pipe, Path(job["err"]))
        gc.collect()
        gc.freeze()  # a child that looks for garbage would copy all of this process
        print(json.dumps(codes), file=replies, flush=True)


def heard() -> tuple[int, int]:
    """A pipe that takes all that a command says, as a file on a full disk would not."""
    pipe = os.pipe()
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, MOST_SAID)
    return pipe


def note(pipe: tuple[int, int], path: Path) -> None:
    """What was said into a pipe, to a file."""
    os.close(pipe[1])
    with os.fdopen(pipe[0], "rb") as said:
        path.write_bytes(said.read())


def born(job: dict[str, Any], begin: int, release: int, pipe: tuple[int, int] | None) -> int:
    """Fork a child, which runs the command and ends as a process of its own; its process id."""
    if child := os.fork():
        return child
    code = 1
    try:
        os.close(release)
        prepare(job, pipe)
        os.read(begin, 1)  # until all are born
        os.close(begin)
        sys.argv = ["dragon", *job["arguments"]]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  as the interpreter does
        traceback.print_exc()
    finally:
        leave(code)
    return 0


def leave(code: int) -> None:
    """End as an interpreter does, but for taking apart what it has imported, which takes seconds in a fork."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare(job: dict[str, Any], pipe: tuple[int, int] | None) -> None:
    """A group, a folder, an environment and output of its own; then what shall go wrong."""
    os.setsid()
    os.chdir(job["folder"])
    os.environ |= job["environment"]
    tempfile.tempdir = None
    for descriptor, name in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    if pipe:
        os.dup2(pipe[1], 1)
        os.dup2(pipe[1], 2)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)
    local, fit = import_module("dragon_train.bench.launchers.local"), import_module("dragon_train.estimate.fit")
    vars(local)["get_context"] = lambda _: get_context("fork")
    vars(fit)["capacity"] = lambda _: None
    atexit.register(report_modules, os.open(job["modules"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    if job["trace"]:
        from support.faults.events import Events

        Events(os.open(job["trace"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), job["last"])
    if job["unprivileged"]:
        give_up_capabilities()
    if job["largest"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))


def give_up_capabilities() -> None:
    """Root minds the modes of files from here on, as everybody does."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def report_modules(file: int) -> None:
    """Tell the nursery what the command has imported, for its brothers."""
    with suppress(OSError):  # on a full disk they learn nothing
        os.write(file, "\n".join(list(sys.modules)).encode())


def learn(path: Path) -> None:
    """Import what a child needed and this process has not imported yet."""
    names = path.read_text(encoding="utf-8").split() if path.is_file() else ()
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):  # names that modules give themselves, and optional ones
                import_module(name)


if __name__ == "__main__":
    serve()
    os._exit(0)
