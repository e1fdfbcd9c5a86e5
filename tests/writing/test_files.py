"""Files are whole or not there, parts of killed writers are swept, and destinations are tried before the work."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.media.audio import write_audio
from dragon_rewards.storage.files import check_file, check_folder, making, replacing, sweep, write_bytes
from dragon_rewards.storage.results import write_parquet

HALF = """
import sys
from pathlib import Path
from dragon_rewards.storage.files import replacing, making
opened = {"replacing": replacing, "making": making}[sys.argv[2]]
with opened(Path(sys.argv[1])) as part:
    (part / "a.txt" if part.is_dir() else part).write_text("half")
    print("half", flush=True)
    sys.stdin.read()
"""


@contextmanager
def full_disk(size: int = 4096) -> Iterator[None]:
    """Writing beyond `size` bytes of a file fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def half_written(path: Path, how: str) -> subprocess.Popen[str]:
    """A process that is amid a write."""
    command = [sys.executable, "-c", HALF, str(path), how]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "half\n"
    return process


@pytest.mark.parametrize("how", ["replacing", "making"])
def test_what_a_killed_writer_left_is_swept_by_the_next_and_not_while_it_lives(how: str, tmp_path: Path) -> None:
    with half_written(tmp_path / "a", how) as process:
        write_bytes(tmp_path / "b", b"whole")
        assert len(list(tmp_path.iterdir())) == 2, "a part was swept while its writer lived"
        process.kill()
        process.wait()
        write_bytes(tmp_path / "b", b"whole")
        assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_sweeping_leaves_what_is_no_part(tmp_path: Path) -> None:
    kept = {".lock", "a.part", ".a.part", "a.1.part", ".notes.txt"}
    for name in (*kept, ".a.1.part", ".a.1-0.part"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_full_disk_leaves_no_half_file_and_names_the_whole_one(tmp_path: Path) -> None:
    noise = torch.rand(20_000)
    frame = pd.DataFrame({"noise": noise.double().numpy()})
    (tmp_path / "old.wav").write_bytes(b"old")
    writers: dict[str, Callable[[Path], None]] = {
        "old.wav": lambda path: write_audio(path, noise, 16_000),
        "new.flac": lambda path: write_audio(path, noise, 16_000),
        "new.parquet": lambda path: write_parquet(path, frame),
        "new.bin": lambda path: write_bytes(path, bytes(10_000)),
    }
    with full_disk():
        for name, write in writers.items():
            with pytest.raises(OSError, match="File too large") as caught:
                write(tmp_path / name)
            assert (caught.value.filename, caught.value.errno) == (str(tmp_path / name), errno.EFBIG)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("old.wav", b"old")]


def test_audio_is_written_as_the_library_writes_it(tmp_path: Path) -> None:
    noise = torch.rand(2, 5_000) - 0.5
    for suffix in (".wav", ".flac"):
        write_audio(tmp_path / f"ours{suffix}", noise, 16_000)
        soundfile.write(tmp_path / f"theirs{suffix}", noise.numpy().T, 16_000)
        ours, theirs = (tmp_path / f"{name}{suffix}" for name in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_link_stays_a_link_and_modes_are_kept(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "file")
    write_bytes(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "file").read_bytes() == b"1"
    write_bytes(tmp_path / "secret", b"1", 0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()

    def fail() -> None:
        with making(tmp_path / "folder") as part:
            (part / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["folder", "folder/old"]
    with making(tmp_path / "folder") as part:
        (part / "new").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["folder", "folder/new"]


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "first")]


def test_destinations_that_cannot_be_written_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, words in (
        (tmp_path / "folder", "is a folder; give --csv the path of a file"),
        (tmp_path / "file" / "x.csv", "cannot be written .*is a file.; choose another place with --csv"),
        (Path("/dev/full"), "is no regular file; give --csv another path"),
        (Path("/proc/x/y.csv"), "cannot be written"),
    ):
        with pytest.raises(DragonError, match=words):
            check_file(path, "--csv")
    for path, words in (
        (tmp_path / "file", "is a file; give --out the path of a folder"),
        (tmp_path / "file" / "x", "cannot be written .*is a file.; choose another place with --out"),
        (Path("/proc/x"), "cannot be written"),
    ):
        with pytest.raises(DragonError, match=words):
            check_folder(path, "--out")
    check_file(tmp_path / "new" / "x.csv", "--csv")
    check_file(tmp_path / "file", "--csv")
    check_folder(tmp_path / "new" / "x", "--out")
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "folder"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; `test_read_only` has a disk for root")
def test_rights_that_are_missing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o400)
    (tmp_path / "folder").mkdir(0o500)
    with pytest.raises(DragonError, match="is read-only; give --csv another path"):
        check_file(tmp_path / "file", "--csv")
    with pytest.raises(DragonError, match="Permission denied"):
        check_folder(tmp_path / "folder" / "x", "--out")
