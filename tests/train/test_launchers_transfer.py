"""What travels between machines: a copy of a task's files out, and every change back, in its order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragon_train.bench.launchers import Task
from dragon_train.bench.launchers.transfer import LARGE, Outbox, files, packing, unpack, write


def put(path: Path, content: bytes, second: int) -> None:
    """A file that was written at a second of its own."""
    write(path, content)
    os.utime(path, (second, second))


def changes(outbox: Outbox, *, final: bool = False) -> list[tuple[str, bytes | None]]:
    return list(outbox.changes(final=final))


def test_only_changes_are_told_in_the_order_of_writing_then_what_is_gone(tmp_path: Path) -> None:
    put(tmp_path / "old", b"1", 1)
    put(tmp_path / "checkpoint", b"2", 2)
    outbox = Outbox(tmp_path)
    assert changes(outbox) == []
    put(tmp_path / "scores", b"last", 9)
    put(tmp_path / "sub" / "adapter", b"first", 8)
    (tmp_path / "checkpoint").unlink()
    assert changes(outbox) == [("sub/adapter", b"first"), ("scores", b"last"), ("checkpoint", None)]
    put(tmp_path / "scores", b"more", 10)
    assert changes(outbox) == [("scores", b"more")]
    assert changes(outbox, final=True) == []


def test_half_written_files_are_left_out(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    (tmp_path / ".scores.17.part").write_bytes(b"half")
    assert changes(outbox, final=True) == []


def test_large_files_wait_unless_they_are_new_or_the_last(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    put(tmp_path / "checkpoint", b"1" * LARGE, 1)
    assert changes(outbox) == [("checkpoint", b"1" * LARGE)]
    put(tmp_path / "checkpoint", b"2" * LARGE, 2)
    put(tmp_path / "metrics", b"2", 3)
    assert changes(outbox) == [("metrics", b"2")]
    assert changes(outbox, final=True) == [("checkpoint", b"2" * LARGE)]


def test_a_copy_keeps_the_inputs_where_they_are_seen_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("out/study/run/state/checkpoint"), b"begun")
    write(Path("out/pool/clips"), b"made")
    task = Task(print, Path("out/../out/study/run"), (), (tmp_path / "out" / "pool" / "clips",))
    folder, sources = packing(task)
    assert folder == Path("study/run")
    copy = tmp_path / "elsewhere"
    unpack(copy, {place: path.read_bytes() for place, path in sources.items()})
    assert set(files(copy)) == {"study/run/state/checkpoint", "pool/clips"}
    assert (copy / folder / "../../pool/clips").read_bytes() == b"made"


def test_a_new_task_travels_with_nothing(tmp_path: Path) -> None:
    assert packing(Task(print, tmp_path / "run")) == (Path("run"), {})
