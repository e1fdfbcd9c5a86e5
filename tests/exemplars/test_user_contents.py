"""What the examples of a set come to is kept, so that a command looks through the sets that it uses and no other."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from dragon_rewards.exemplars.contents import CONTENTS, kept_contents, stamp_of, sums
from dragon_rewards.exemplars.sets import contents, items
from dragon_rewards.exemplars.store import changing_sets, find_set, require_set

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows


def items_file(folder: Path) -> Path:
    (path,) = folder.glob("items-*")
    return path


def spoil(path: Path) -> None:
    """Overwrite a file so that neither its size nor its time tells."""
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def words(tmp_path: Path, rows: Rows) -> str:
    (tmp_path / "lines.txt").write_text("a jig\nan air\na hymn\n")
    rows("exemplars", "add", "words", tmp_path / "lines.txt")
    return "words"


@pytest.mark.usefixtures("words")
def test_only_the_sets_that_a_command_uses_are_looked_through(
    music: Path, sets: Path, rows: Rows, dragon: Dragon, refused: Refused
) -> None:
    rows("exemplars", "add", "mine", music)
    before = rows("exemplars", "list")
    spoil(items_file(sets / "mine"))
    assert rows("exemplars", "list") == before
    assert "dataset-fad:logmel@mine" in {row["name"] for row in rows("list", "rewards")}
    assert dragon("score", "per-song-fad:clap@words", music / "a.wav").exit_code == 0
    for arguments in (("exemplars", "check", "mine"), ("score", "dataset-fad:logmel@mine", music)):
        assert f"line 1 of '{items_file(sets / 'mine')}'" in refused(*arguments)


def test_what_is_kept_follows_every_change(music: Path, sets: Path, rows: Rows) -> None:
    changes = [("add", "mine", music / "a.wav"), ("add", "mine", music), ("remove", "mine", music / "deep")]
    for change in changes:
        rows("exemplars", *change)
        found = sums(items(require_set("mine")), stamp_of(items_file(sets / "mine")))
        assert kept_contents(sets / "mine") == contents(require_set("mine")) == found
    assert (found.examples, found.without_file, found.has_files) == (2, 0, True)
    assert found.seconds == pytest.approx(5.5, abs=0.1)


@pytest.mark.parametrize("lost", ["missing", "broken", "of a copy"])
def test_what_is_not_kept_is_found_out_once(lost: str, words: str, sets: Path) -> None:
    folder, known = sets / words, kept_contents(sets / words)
    assert known
    if lost == "missing":
        (folder / CONTENTS).unlink()
    elif lost == "broken":
        (folder / CONTENTS).write_text("{")
    else:
        shutil.copy(items_file(folder), sets / "copy")
        (sets / "copy").replace(items_file(folder))
    with changing_sets():  # of another process, which the reader does not wait for
        assert find_set(words)
        assert kept_contents(folder) in {None, known}
    info = require_set(words)
    assert kept_contents(folder) == sums(items(info), stamp_of(items_file(folder)))
    spoil(items_file(folder))
    assert find_set(words) == info
