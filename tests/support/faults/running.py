"""`dragon` in this process, from its `main`, with the streams of a process; and what a bad file made of it."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import sys
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from unicodedata import category
from unittest.mock import patch

import typer.main

from dragon_rewards.registry import load_registry
from dragon_train.cli import main
from support.faults.tally import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

SHOWN = 160  # characters of a refusal that went wrong


@dataclass(frozen=True)
class Ran:
    """A command that has run: its exit code, what it said, and what it raised instead of ending."""

    code: int
    out: str
    err: str
    raised: str = ""


def run(arguments: Sequence[object]) -> Ran:
    """Run `dragon` with these arguments; a process of its own would load the registry anew, and so does this."""
    out, err = stream("strict"), stream("backslashreplace")
    before, sys.argv = sys.argv, ["dragon", *map(str, arguments)]
    heeded = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    code, raised = 0, ""
    load_registry.cache_clear()
    try:
        with warnings.catch_warnings(), parsers_kept(), unheard(), redirect_stdout(out), redirect_stderr(err):
            warnings.simplefilter("default")
            main()
            out.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001  whatever it is, it is a traceback of the command's
        code, raised = 1, described(error)
    finally:
        sys.argv = before
        for number, handler in heeded.items():
            signal.signal(number, handler)
    return Ran(code, text_of(out), text_of(err), raised)


def parsers_kept() -> AbstractContextManager[object]:
    """Typer makes the parsers of all verbs anew for each command, which takes longer than most commands."""
    return patch.object(typer.main, "get_command", GET_COMMAND)


def unheard() -> AbstractContextManager[object]:
    """The handlers of pytest take what is logged from stderr."""
    return patch.object(logging.getLogger(), "handlers", [])


GET_COMMAND = cache(typer.main.get_command)


def stream(errors: str) -> io.TextIOWrapper:
    """In memory, as strict as that of a process."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)


def text_of(written: io.TextIOWrapper) -> str:
    """What was written."""
    buffer = written.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def described(error: BaseException) -> str:
    """Type and message, and the innermost of our functions."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/dragon_" in frame.filename]
    place = f"{ours[-1].filename.rpartition('/dragon_')[2]}:{ours[-1].lineno} {ours[-1].name}" if ours else "?"
    return f"{type(error).__name__} in dragon_{place}: {' '.join(str(error).split())[:SHOWN]}"


def last_of_traceback(said: str) -> str:
    """What `described` says, of a traceback that a process printed; empty without one."""
    if "Traceback (most recent call last)" not in said:
        return ""
    places = re.findall(r'File "\S*/(dragon_\S+)", line (\d+), in (\S+)', said)
    errors = re.findall(
        r"^([A-Za-z_][\w.]*)(?:: (.*))?$", said.rpartition("Traceback (most recent call last)")[2], re.MULTILINE
    )
    kind, message = errors[-1] if errors else ("?", "")
    return f"{kind} in {':'.join(places[-1][:2]) if places else '?'}: {message[:SHOWN]}"


def same_kind(raised: str) -> str:
    """What escapes of one place have in common."""
    return raised.partition(": ")[0]


def fate(ran: Ran, wanted: Ran, names: Sequence[str], changed: Sequence[str], *, sealed: bool) -> tuple[Fate, str]:
    """What became of a bad file, and what is wrong with that.

    Args:
        ran: the command that read it.
        wanted: the same one, with the good file.
        names: one of them is in a refusal: the file, or what it is of.
        changed: files that the command made other than it made them of the good one.
        sealed: whether the file carries a checksum, so that nothing but the right result will do.
    """
    if ran.raised:
        return Fate.ESCAPED, same_kind(ran.raised)
    if ran.code == REFUSED:
        said = " ".join(ran.err.split())
        bare = "Traceback" in ran.err or not any(name in said for name in names) or not is_clean(ran.err)
        return (Fate.ESCAPED, f"a refusal without its file: {plain(said)}") if bare else (Fate.REFUSED, "")
    if ran.code:
        return Fate.ESCAPED, f"exit code {ran.code}: {' '.join(ran.err.split())[:SHOWN]}"
    if ran.out == wanted.out and not changed:
        return Fate.RECOMPUTED, ""
    if sealed:
        return Fate.ESCAPED, f"another result, and exit code 0; other files: {', '.join(changed)}"
    return (Fate.READ, "") if is_finite(ran.out) else (Fate.ESCAPED, "NaN in JSON")


REFUSED = 2


def plain(said: str) -> str:
    """The beginning of a refusal without what differs from one to the next."""
    return re.sub(r"\S*/|\(.*|'[^']*'|\d+", "", said)[: SHOWN // 2]


def is_clean(text: str) -> bool:
    """Whether a terminal obeys nothing in it."""
    return all(category(character) != "Cc" or character.isspace() for character in text)


def is_finite(out: str) -> bool:
    """Whether no JSON on stdout holds what JSON has not."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    try:
        json.loads(out, parse_constant=refuse)
    except AssertionError:
        return False
    except ValueError:
        return True
    return True


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, kept: dict[str, bytes]) -> list[str]:
    """Put back what is other than it was; the names of these files, of new ones too."""
    found = snapshot(folder)
    changed = [name for name in {*found, *kept} if found.get(name) != kept.get(name)]
    for name in changed:
        if name in kept:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(kept[name])
        else:
            (folder / name).unlink()
    return sorted(changed)
