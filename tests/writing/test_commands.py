"""Commands whose files cannot be written: refused before the work, or told with the results; never a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.commands import begun, ended
from typer.testing import CliRunner

from dragon_rewards.registry import load_registry
from dragon_train.cli.app import app
from writing.test_files import full_disk

FAD = "per-song-fad:logmel@airs"
Dragon = Callable[..., tuple[int, str, str]]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    times = np.arange(32_000) / 16_000
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 220 * times), 16_000)
    return tmp_path / "a.wav"


@pytest.fixture(name="dragon")
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dragon]:
    """Runs a command in a folder of its own, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DRAGON_EXEMPLARS", str(tmp_path / "sets"))
    monkeypatch.setenv("DRAGON_REMOTES", str(tmp_path / "remotes.json"))
    (tmp_path / "file").touch()

    def run(*arguments: object) -> tuple[int, str, str]:
        load_registry.cache_clear()
        done = CliRunner().invoke(app, list(map(str, arguments)))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    yield run
    load_registry.cache_clear()


UNWRITABLE: list[tuple[object, ...]] = [
    ("score", FAD, "a.wav", "--csv", "file/x.csv"),
    ("rank", "a.wav", "--reward", FAD, "--csv", "/proc/x.csv"),
    ("compare", ".", ".", "--rewards", FAD, "--csv", "/dev/full"),
    ("export-reward", FAD, "--for", "trl", "--out", "file/x.py"),
    ("listen", "page", ".", ".", "--out", "file/page.html"),
    ("listen", "page", ".", ".", "--out", "page.html", "--db", "/proc/votes.sqlite"),
    ("sample", "a hymn", "--out", "file"),
    ("sample", "a hymn", "--out", "/proc/x"),
    ("best-of", "2", "a hymn", "--reward", "clap-score:clap", "--out", "file/x"),
    ("train", "--reward", "vendi:logmel", "--steps", "1", "--out", "file"),
    ("bench", "--rewards", "vendi:clap", "--out", "/proc/x"),
    ("ablate", "seeds", "--out", "file/x"),
]


@pytest.mark.parametrize("arguments", UNWRITABLE, ids=lambda arguments: " ".join(map(str, arguments)))
def test_a_destination_that_cannot_be_written_is_refused_first(
    arguments: tuple[object, ...], dragon: Dragon, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    for place in ("dragon_rewards.registry.Registry.build_encoder", "dragon_train.loop.tuning.load_policy"):
        monkeypatch.setattr(place, fail)
    code, out, err = dragon(*arguments)
    assert (code, out) == (2, ""), err
    assert err.startswith("dragon: '")
    assert err.count("\n") == 1
    assert any(words in err for words in ("cannot be written", "is a file; give --out", "is no regular file"))
    assert {path.name for path in clip.parent.iterdir()} == {"a.wav", "file"}


@pytest.mark.parametrize("place", ["file", "file/sets", "/proc/x"])
def test_sets_that_cannot_be_written_are_refused_first(
    place: str, dragon: Dragon, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGON_EXEMPLARS", place)
    code, out, err = dragon("exemplars", "add", "mine", clip)
    assert (code, out) == (2, "")
    assert "DRAGON_EXEMPLARS" in err


@pytest.mark.usefixtures("clip")
def test_results_are_printed_before_they_are_written(dragon: Dragon) -> None:
    with full_disk(10):
        code, out, err = dragon("score", FAD, "a.wav", "--csv", "x.csv", "--json")
    assert code == 2
    assert '"value"' in out
    assert err == "dragon: 'x.csv': File too large; make room on its disk, or choose a place on another\n"
    assert not Path("x.csv").exists()


def test_a_full_disk_leaves_no_half_clip(dragon: Dragon, tmp_path: Path) -> None:
    with full_disk(65_536):
        code, out, err = dragon("sample", "a hymn", "a jig", "--steps", 2, "--guidance", 1, "--out", "full")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("dragon: 'full': File too large; make room")
    assert not (tmp_path / "full").exists()


def test_statistics_that_cannot_be_kept_serve_all_the_same(
    dragon: Dragon, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert dragon("exemplars", "add", "mine", clip)[0] == 0
    with full_disk(1000):
        code, out, err = dragon("score", "per-song-fad:logmel@mine", clip, "--json")
    assert code == 0, err
    assert '"value"' in out
    assert "statistics are not kept" in caplog.text
    assert dragon("score", "per-song-fad:logmel@mine", clip, "--json")[1] == out


def test_any_error_of_the_system_is_a_refusal_with_the_file(dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system", "here")

    monkeypatch.setattr("dragon_train.cli.verbs.listing.builtin_suites", read_only)
    code, out, err = dragon("list", "suites")
    assert (code, out) == (2, "")
    assert err == "dragon: 'here': Read-only file system; choose a place that can be written\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [("list", "suites"), ("--help",), ("list", "suites", "--json")])
def test_output_that_finds_no_room_is_told(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        code, _, err = ended(begun(*arguments, cwd=tmp_path, stdout=full.fileno()))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("dragon: output could not be written: No space left on device; make room")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["suites", "rewards"])
def test_a_reader_that_has_gone_is_no_matter_for_words(verb: str, tmp_path: Path) -> None:
    with begun("list", verb, "--json", cwd=tmp_path) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_leftovers_are_swept_by_the_next_command(dragon: Dragon, clip: Path) -> None:
    script = "import os, sys, signal\nfrom pathlib import Path\nfrom dragon_rewards.storage.files import replacing\n"
    script += "with replacing(Path('x.csv')) as part:\n    part.touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    subprocess.run([sys.executable, "-c", script], check=False)
    assert len(list(clip.parent.glob(".x.csv.*.part"))) == 1
    assert dragon("score", FAD, clip, "--csv", "x.csv")[0] == 0
    assert list(clip.parent.glob(".*.part")) == []
