"""What is read ahead comes in order, no further ahead than is allowed, and not after a failure."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio, read_mono, seconds_of, write_audio
from dragon_rewards.media.clips import to_mono
from dragon_rewards.media.prefetch import CHUNK, ahead, reading_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@settings(deadline=None, max_examples=50)
@given(lengths=st.lists(st.integers(0, 3 * CHUNK), max_size=12), threads=st.integers(1, 4), look=st.integers(1, 8))
def test_items_come_source_by_source_in_order(lengths: list[int], threads: int, look: int) -> None:
    def read(source: int) -> Iterator[tuple[int, int]]:
        for item in range(lengths[source]):
            yield source, item

    with ahead(read, range(len(lengths)), threads, look) as items:
        assert list(items) == [(source, item) for source, length in enumerate(lengths) for item in range(length)]


def test_several_sources_are_read_at_once_and_no_further_ahead_than_allowed() -> None:
    begun: list[int] = []
    together = threading.Barrier(3, timeout=30)

    def read(source: int) -> Iterator[int]:
        begun.append(source)
        if source < 3:
            together.wait()  # passes only if three threads read at once
        yield source

    with ahead(read, range(100), threads=3, look=4) as items:
        assert next(items) == 0
        time.sleep(0.2)
        assert sorted(begun) == list(range(6))  # the one that was taken, and of the rest the next and four more


def test_of_a_long_source_a_chunk_is_held() -> None:
    made: list[int] = []

    def read(_: int) -> Iterator[int]:
        for item in range(10 * CHUNK):
            made.append(item)
            yield item

    with ahead(read, [0], threads=1, look=1) as items:
        next(items)
        time.sleep(0.2)
        assert len(made) <= 2 * CHUNK


def test_a_failure_is_raised_in_its_place_and_ends_the_reading() -> None:
    begun: list[int] = []

    def read(source: int) -> Iterator[int]:
        begun.append(source)
        if source == 5:
            raise AudioError("file 5")
        yield source

    taken: list[int] = []
    with pytest.raises(AudioError, match="file 5"), ahead(read, range(1000), threads=2, look=2) as items:
        taken.extend(items)
    assert taken == [0, 1, 2, 3, 4]
    time.sleep(0.2)
    assert max(begun) <= 8


def test_as_many_threads_as_cores() -> None:
    assert 1 <= reading_threads() <= 16


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_mix_is_that_of_the_channels(tmp_path: Path, suffix: str, channels: int) -> None:
    if suffix == ".mp3" and channels > 2:
        pytest.skip("MP3 has two channels at most")
    path = tmp_path / f"song{suffix}"
    write_audio(path, 0.3 * torch.randn(channels, 600_001, generator=torch.Generator().manual_seed(0)), 44_100)
    (audio, rate), (mono, same) = read_audio(path), read_mono(path)
    assert rate == same
    assert torch.equal(mono, to_mono(audio))
    assert seconds_of(path) == pytest.approx(len(mono) / rate)


def test_what_cannot_be_read_is_refused_alike(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    write_audio(tmp_path / "empty.wav", torch.zeros(1, 0), 8_000)
    for read in (read_audio, read_mono):
        for name, why in (("gone.wav", "is not a file"), ("text.wav", "cannot be read"), ("empty.wav", "no samples")):
            with pytest.raises(AudioError, match=f"{name}' .*{why}|{name}' {why}"):
                read(tmp_path / name)
