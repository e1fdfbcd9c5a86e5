"""A full disk and folders without rights: a line and exit code 2, and no half of anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.faults import material, workshop
from support.faults.forks import surroundings
from support.faults.running import REFUSED, restore, snapshot
from support.faults.tally import Fate

if TYPE_CHECKING:
    from support.faults.forks import Done, Nursery
    from support.faults.tally import Tally

pytestmark = pytest.mark.slow

QUICK = ("--steps", 2, "--guidance", 1)
FULL: dict[str, tuple[int, tuple[object, ...]]] = {  # the largest file, and the command
    "sample": (64_000, ("sample", "a hymn", "a jig", *QUICK, "--out", "clips")),
    "train": (100_000, ("train", "run.toml", "--out", "new")),
    "train, at once": (100, ("train", "run.toml", "--out", "new")),
    "bench": (10_000, material.BENCH),
    "bench, at once": (100, material.BENCH),
    "ablate": (10_000, material.ABLATE),
    "exemplars add": (100, ("exemplars", "add", "new", "music")),
    "exemplars facets": (500, ("exemplars", "facets", "mine", "--encoder", "logmel", "--count", 3)),
    "exemplars export": (1000, ("exemplars", "export", "mine", "new.dragon")),
    "exemplars import": (1000, ("exemplars", "import", "mine.dragon", "--name", "new")),
    "score": (50, ("score", "per-song-fad:logmel@airs", "music", "--csv", "scores.csv")),
    "listen page": (1000, ("listen", "page", "a", "b", "--db", "new.sqlite", "--out", "new.html")),
    "report": (10_000, ("report", "run", "--pairs", 0, "--out", "page.html")),
}


@pytest.fixture(scope="module", name="all_of_it")
def folder_of_everything(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Path:
    """Music, a set, a listening test, a run, and settings."""
    folder = tmp_path_factory.mktemp("disk")
    for maker in (workshop.make_sets, workshop.make_votes, workshop.make_runs):
        maker(folder, nursery)
    return folder


def halves(folder: Path, before: dict[str, bytes]) -> list[str]:
    """Files that a user would take for whole, or that a killed command leaves, which were not there before."""
    return [
        name for name in snapshot(folder) if name not in before and name.endswith((".part", ".wav", ".html", ".dragon"))
    ]


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_named_and_nothing_half_stays(
    name: str, all_of_it: Path, nursery: Nursery, tally: Callable[[str], Tally]
) -> None:
    counts, before = tally("full disk"), snapshot(all_of_it)
    largest, arguments = FULL[name]
    done = nursery.run(all_of_it, *arguments, largest=largest)
    left = halves(all_of_it, before)
    restore(all_of_it, before)
    wrong = refused(done) or (f"left {left}" if left else "")
    counts.add(Fate.ESCAPED if wrong else Fate.REFUSED, f"{name}: {wrong}", done.err[-1000:])
    counts.check()


def refused(done: Done) -> str:
    """Why a command did not end with a plain refusal; empty if it did."""
    if done.code != REFUSED:
        return f"exit code {done.code}"
    return "a traceback" if "Traceback" in done.err else ""


READ_ONLY: dict[str, tuple[object, ...]] = {
    "sample": ("sample", "a hymn", *QUICK, "--out", "locked/clips"),
    "best-of": ("best-of", 2, "a hymn", "--reward", "clap-score:clap", *QUICK, "--out", "locked/clips"),
    "train": ("train", "run.toml", "--out", "locked/run"),
    "bench": ("bench", "--suite", "suite.toml", "--preset", "preset.toml", "--out", "locked/bench"),
    "ablate": ("ablate", "losses.toml", "--out", "locked/ablations"),
    "score": ("score", "per-song-fad:logmel@airs", "music", "--csv", "locked/scores.csv"),
    "export": ("exemplars", "export", "mine", "locked/mine.dragon"),
    "listen page": ("listen", "page", "a", "b", "--db", "locked/v.sqlite", "--out", "locked/page.html"),
    "report": ("report", "run", "--pairs", 0, "--out", "locked/page.html"),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_a_folder_without_rights_is_named(
    name: str, all_of_it: Path, nursery: Nursery, tally: Callable[[str], Tally]
) -> None:
    counts, before, locked = tally("read-only folder"), snapshot(all_of_it), all_of_it / "locked"
    locked.mkdir(exist_ok=True)
    locked.chmod(0o555)
    done = nursery.run(all_of_it, *READ_ONLY[name], unprivileged=True)
    locked.chmod(0o755)
    restore(all_of_it, before)
    wrong = refused(done) or ("" if "locked" in done.err else "the folder is not named")
    counts.add(Fate.ESCAPED if wrong else Fate.REFUSED, f"{name}: {wrong}", done.err[-1000:])
    counts.check()


FINISHED: dict[str, tuple[object, ...]] = {
    "report": ("report", "run", "--pairs", 0, "--out", "../page.html"),
    "sample": ("sample", "a hymn", "--run", "run", *QUICK, "--out", "../clips"),
    "score": ("score", "per-song-fad:logmel@mine", "music"),
    "votes": ("listen", "report", "votes.sqlite"),
    "sets": ("exemplars", "check", "mine"),
}


@pytest.mark.parametrize("name", FINISHED)
def test_what_is_finished_is_read_on_a_read_only_disk(
    name: str, all_of_it: Path, nursery: Nursery, tally: Callable[[str], Tally]
) -> None:
    counts, before = tally("read-only disk"), snapshot(all_of_it)
    folders = [all_of_it, *(path for path in all_of_it.rglob("*") if path.is_dir() and path.name != "tmp")]
    for folder in folders:
        folder.chmod(0o555)
    done = nursery.run(all_of_it, *FINISHED[name], unprivileged=True)
    for folder in folders:
        folder.chmod(0o755)
    changed = restore(all_of_it, before)
    wrong = f"exit code {done.code}" if done.code else (f"changed {changed}" if changed else "")
    counts.add(Fate.ESCAPED if wrong else Fate.RECOMPUTED, f"{name}: {wrong}", done.err[-1000:])
    counts.check()


def test_a_device_that_is_full_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dragon_train.cli", "list", "rewards"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (REFUSED, False), done.stderr


def test_sets_without_a_place_are_refused(tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    material.write_sounds(tmp_path / "music")
    monkeypatch.setattr(
        "support.faults.forks.surroundings", lambda folder: {**surroundings(folder), "DRAGON_EXEMPLARS": "/proc/x"}
    )
    done = nursery.run(tmp_path, "exemplars", "add", "mine", "music")
    assert not refused(done), done.err
    assert "/proc/x" in done.err
