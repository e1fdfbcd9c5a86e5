"""What is finished is read from a disk that cannot be written: a mount, which root minds, too."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import DRAGON, dragon

from dragon_rewards.evaluation.listening.plan import Clip, Kind, Pair, Plan, Side, Trial
from dragon_rewards.evaluation.listening.votes import Choice, Vote, VoteFile

pytestmark = pytest.mark.slow

MOUNTS = "mount --bind {0} {0} && mount -o remount,ro,bind {0} && exec "


def read_only(disk: Path, *arguments: object, cwd: Path) -> tuple[int, str, str]:
    """Run a command to which a folder is a read-only disk."""
    script = MOUNTS.format(shlex.quote(str(disk))) + shlex.join([*DRAGON, *map(str, arguments)])
    own = {"DRAGON_EXEMPLARS": str(disk / "sets")}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=cwd,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def can_mount(folder: Path) -> bool:
    script = MOUNTS.format(shlex.quote(str(folder))) + f"{shlex.quote(sys.executable)} -c pass"
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not can_mount(folder):
        pytest.skip("this user may not mount")
    return folder


def test_a_finished_run_and_its_report(disk: Path, tmp_path: Path) -> None:
    run = ("--reward", "vendi:logmel", "--steps", 1, "--prompts-per-step", 2, "--demonstration-steps", 2)
    assert dragon("train", *run, "--out", disk / "run", cwd=tmp_path)[0] == 0
    here = tmp_path / "here"
    sampled = read_only(disk, "sample", "a jig", "--run", disk / "run", "--steps", 2, "--out", here, cwd=tmp_path)
    assert sampled[0] == 0, sampled[2]
    page = tmp_path / "page.html"
    reported = read_only(disk, "report", disk / "run", "--pairs", 0, "--out", page, cwd=tmp_path)
    assert (reported[0], page.is_file()) == (0, True), reported[2]
    code, out, err = read_only(disk, "train", *run, "--out", disk / "run", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "Read-only file system" in err
    assert err.count("\n") == 1


def test_sets_clips_and_votes(disk: Path, tmp_path: Path) -> None:
    times = np.arange(32_000) / 16_000
    soundfile.write(disk / "a.wav", 0.3 * np.sin(2 * np.pi * 220 * times), 16_000)
    (tmp_path / "sets").symlink_to(disk / "sets")
    (disk / "sets").mkdir()
    assert dragon("exemplars", "add", "mine", disk / "a.wav", cwd=tmp_path)[0] == 0
    score = ("score", "per-song-fad:logmel@mine", disk / "a.wav", "--json")
    code, out, err = read_only(disk, *score, cwd=tmp_path)
    assert code == 0, err
    assert "statistics are not kept" in err
    assert dragon(*score, cwd=tmp_path)[1] == out
    assert read_only(disk, *score, cwd=tmp_path)[:2] == (0, out)
    refused = read_only(disk, "exemplars", "remove", "mine", cwd=tmp_path)
    assert (refused[0], "Read-only file system" in refused[2]) == (2, True)
    clip = Clip("a.wav", "0" * 64, 1.0)
    votes = VoteFile(disk / "votes.sqlite")
    votes.begin(Plan(0, 0, 0, (Pair(None, clip, clip),)))
    votes.enter("ann")
    votes.add(Vote("ann", 0, Trial(0, Kind.PAIR, Side.A), Choice.LEFT, 9.0))
    before = read_only(disk, "listen", "report", disk / "votes.sqlite", "--json", cwd=tmp_path)
    assert (before[0], '"ann"' in before[1]) == (0, True), before[2]
