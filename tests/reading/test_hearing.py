"""Files are heard the shortest first and given in their order; an interruption ends the reading."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from support.sounds import write_tone

from dragon_rewards import compose
from dragon_rewards import encoding as hearing
from dragon_rewards.compute.devices import CPU
from dragon_rewards.encoding import EncodingJob, Files, encode_files
from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_mono
from dragon_rewards.media.clips import Clips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

REWARD = "vendi:logmel"


def files(folder: Path, *seconds: float) -> Files:
    return Files([write_tone(folder / f"{row:02d}.wav", length, seed=row) for row, length in enumerate(seconds)])


def nothing(_: int) -> None: ...


def test_embeddings_come_in_the_order_of_the_files(tmp_path: Path) -> None:
    given, seen = files(tmp_path, 2.0, 1.0, 3.0, 1.0, 2.0), list[tuple[int, int]]()

    def see(rows: Sequence[int], audio: Sequence[Tensor]) -> None:
        seen.extend(zip(rows, map(len, audio), strict=True))

    steps: list[int] = []
    heard = encode_files(EncodingJob([compose(REWARD)], CPU, None, steps.append, see), given)
    alone = [compose(REWARD).embeddings(Clips([read_mono(path)[0]], 16_000)).frames[0] for path in given.paths]
    frames = compose(REWARD).embeddings(heard).frames
    assert heard.names == tuple(map(str, given.paths))
    for mine, theirs in zip(frames, alone, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert seen == [(1, 16_000), (3, 16_000), (0, 32_000), (4, 32_000), (2, 48_000)]
    assert sum(steps) == 2 * len(given.paths)


def test_several_encoders_hear_what_was_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, read = files(tmp_path, 1.0, 1.0, 1.0), list[Path]()

    def noted(path: Path) -> tuple[Tensor, int]:
        read.append(path)
        return read_mono(path)

    monkeypatch.setattr(hearing, "read_mono", noted)
    rewards = [compose(REWARD), compose("vendi:chroma")]
    heard = encode_files(EncodingJob(rewards, CPU, None, nothing), given)
    assert sorted(read) == list(given.paths)
    assert all(len(reward.embeddings(heard).frames) == 3 for reward in rewards)


def test_an_interruption_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, read = files(tmp_path, *[1.0] * 40), list[Path]()

    def slowly(path: Path) -> tuple[Tensor, int]:
        read.append(path)
        time.sleep(0.1)
        return read_mono(path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hearing, "read_mono", slowly)
    with pytest.raises(KeyboardInterrupt):
        encode_files(EncodingJob([compose(REWARD)], CPU, None, interrupt), given)
    at_once = len(read)
    time.sleep(1.0)
    assert len(read) == at_once < len(given.paths)


def test_a_file_that_is_no_audio_is_refused_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, read = files(tmp_path, 1.0, 1.0), list[Path]()
    monkeypatch.setattr(hearing, "read_mono", read.append)
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(AudioError, match=r"text.wav' cannot be read as audio"):
        encode_files(EncodingJob([compose(REWARD)], CPU, None, nothing), Files([*given.paths, tmp_path / "text.wav"]))
    assert not read
