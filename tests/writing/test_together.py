"""Two to four commands at once: what each has done is there at the end, or it was refused."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import begun, ended

from dragon_rewards.evaluation.listening.plan import Clip, Pair, Plan
from dragon_rewards.evaluation.listening.votes import VoteFile
from dragon_rewards.exemplars import captions
from dragon_rewards.exemplars.item import text_item
from dragon_rewards.exemplars.sets import Manifest, items, read_manifest
from dragon_rewards.exemplars.store import changing_sets, find_set, save_set
from dragon_rewards.protocols import Modality
from dragon_rewards.remote.config import Remote, changing_remotes, load_remotes, save_remotes

pytestmark = pytest.mark.slow

SPAWN = get_context("spawn")
PROCESSES, ROUNDS = 4, 10


def together(*commands: tuple[object, ...], cwd: Path) -> list[tuple[int, str, str]]:
    return [ended(process) for process in [begun(*command, cwd=cwd) for command in commands]]


def test_files_that_are_added_at_once_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    names = "abcd"
    for name in names:
        times = np.arange(32_000) / 16_000
        soundfile.write(tmp_path / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 50 * ord(name) * times), 16_000)
    done = together(*(("exemplars", "add", "mine", tmp_path / f"{name}.wav") for name in names), cwd=tmp_path)
    assert [code for code, _, _ in done] == [0] * len(names), done
    info = find_set("mine")
    assert info
    assert sorted(Path(str(item.path)).name for item in items(info)) == [f"{name}.wav" for name in names]
    done = together(*(("exemplars", "remove", "mine", tmp_path / f"{name}.wav") for name in "ab"), cwd=tmp_path)
    assert [code for code, _, _ in done] == [0, 0], done
    info = find_set("mine")
    assert info
    assert sorted(Path(str(item.path)).name for item in items(info)) == ["c.wav", "d.wav"]
    assert {path.name for path in (tmp_path / "sets").iterdir()} == {".lock", "mine"}


def test_the_same_file_imported_twice_at_once_makes_one_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lines.txt").write_text("a jig\nan air\n")
    assert together(("exemplars", "add", "words", "lines.txt"), cwd=tmp_path)[0][0] == 0
    assert together(("exemplars", "export", "words", "words.zip"), cwd=tmp_path)[0][0] == 0
    done = together(*[("exemplars", "import", "words.zip", "--name", "other")] * 2, cwd=tmp_path)
    assert sorted(code for code, _, _ in done) == [0, 2], done
    assert "there is an exemplar set 'other'" in "".join(err for _, _, err in done)
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    info = find_set("other")
    assert info
    assert captions(info) == ["a jig", "an air"]


def add_captions(own: int) -> None:
    """Add captions one by one, each to what is there."""
    for number in range(ROUNDS):
        with changing_sets():
            info = find_set("words")
            assert info
            manifest = read_manifest(info.path)
            save_set(manifest, [*items(info), text_item(f"caption {number} of {own}")], manifest)


def add_remotes(own: int) -> None:
    """Add servers one by one, each to those that are there."""
    for number in range(ROUNDS):
        with changing_remotes():
            save_remotes([*load_remotes(), Remote(f"http://host-{own}:{number + 1}", "env:NONE", "", ())])


def test_nothing_that_is_added_at_once_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setenv("DRAGON_REMOTES", str(tmp_path / "remotes.json"))
    save_set(Manifest("words", Modality.TEXT, 0, "CC0-1.0", "for tests", "a test", ""), [text_item("a jig")], None)
    targets = [add_captions, add_remotes]
    writers = [SPAWN.Process(target=target, args=(own,)) for target in targets for own in range(PROCESSES // 2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert find_set("words"), "a reader saw half of a change"
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    info = find_set("words")
    assert info
    assert len(captions(info)) == 1 + ROUNDS * PROCESSES // 2
    assert len({remote.url for remote in load_remotes()}) == ROUNDS * PROCESSES // 2
    assert {path.name for path in tmp_path.iterdir()} == {"sets", "remotes.json", ".remotes.json.lock"}


def test_two_that_begin_one_file_of_votes_share_its_plan(tmp_path: Path) -> None:
    clip = Clip("a.wav", "0" * 64, 1.0)
    first, second = (Plan(seed, 0, 0, (Pair(None, clip, clip),)) for seed in (1, 2))
    files = [VoteFile(tmp_path / "votes.sqlite") for _ in range(2)]
    assert [file.plan() for file in files] == [None, None]
    for file, plan in zip(files, (first, second), strict=True):
        file.begin(plan)
    assert [file.plan() for file in files] == [first, first]


def test_a_lock_that_is_held_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    (tmp_path / "lines.txt").write_text("a jig\n")
    hold = "import sys, time\nfrom dragon_rewards.exemplars.store import changing_sets\n"
    hold += "with changing_sets():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    adding = begun("exemplars", "add", "words", "lines.txt", cwd=tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        adding.wait(3)
    assert find_set("words") is None
    holder.communicate()
    assert ended(adding)[0] == 0
    assert find_set("words")
