"""Progress: a line every half minute in a log, a bar in a terminal, silence in processes that do not lead."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest
from support.parts import RATE, noise
from typer.testing import CliRunner

from dragon_rewards.media.audio import write_audio
from dragon_rewards.terminal import progress as module
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Terminal(io.StringIO):
    """What is taken for a terminal."""

    def isatty(self) -> bool:
        return True


def soon(holds: Callable[[], bool]) -> None:
    """Wait until it does."""
    begun = monotonic()
    while not holds():
        assert monotonic() - begun < 20
        sleep(0.01)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every hundredth of a second."""
    monkeypatch.setattr(module, "PAUSE", 0.01)


def test_a_log_has_lines_while_nothing_changes() -> None:
    with redirect_stderr(io.StringIO()) as log, progress("reading", "files", 7) as bar:
        bar.update(3)
        soon(lambda: log.getvalue().count("reading: 3 of 7 files, 0 s\n") > 1)
    ended = log.getvalue()
    sleep(0.1)
    assert log.getvalue() == ended


def test_what_began_last_is_told_and_then_the_outer_again() -> None:
    with redirect_stderr(io.StringIO()) as log, progress("scoring", "steps") as outer:
        outer.advance(2, 8)
        with progress("mine: encoding", "files", 3) as inner:
            inner.say("a line of its own")
            inner.advance()
            soon(lambda: "mine: encoding: 1 of 3 files" in log.getvalue())
        soon(lambda: "scoring: 2 of 8 steps" in log.getvalue())
    assert "a line of its own\n" in log.getvalue()


def test_a_terminal_has_a_bar_which_goes_when_all_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stderr(stream), progress("reading [red]", "files", 7) as bar, progress("inside", "clips", 2):
        bar.update(3)
        bar.say("step 1: [0.5]")
        soon(lambda: "3/7" in stream.getvalue() and "0/2" in stream.getvalue())
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue())
    assert "reading [red]" in shown
    assert "step 1: [0.5]" in shown
    assert "3 of 7" not in shown


def test_a_process_that_does_not_lead_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with redirect_stderr(io.StringIO()) as log, progress("reading", "files", 7) as bar:
        bar.say("a line")
        sleep(0.05)
    assert log.getvalue() == ""


def test_exemplars_add_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setattr(module, "PAUSE", 0.001)
    for index, clip in enumerate(noise(12)):
        write_audio(tmp_path / f"{index}.wav", clip, RATE)
    result = CliRunner().invoke(app, ["exemplars", "add", "mine", str(tmp_path), "--encoder", "logmel"])
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^reading: \d+ of 12 files, 0 s$|^reading: 0 files, 0 s$", result.stderr, re.MULTILINE)
    assert re.search(r"^mine: encoding: \d+ of 12 files, \d+ s$", result.stderr, re.MULTILINE)
