"""Shards: cut by all that their results depend on, computed once, merged in order, and kept through a failure."""

from __future__ import annotations

import subprocess
import sys
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
import torch
from support.sounds import write_tone

from dragon_rewards.encoders.spectral import LogMel
from dragon_rewards.exemplars import audio
from dragon_rewards.exemplars.statistics import read_kept
from dragon_rewards.media.cache import open_cache, work_folder
from dragon_rewards.storage.shards import Form, cut, discard, results

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows
    from torch import Tensor

    from dragon_rewards.exemplars.sources import Source

ADD = """
import os, signal, sys
from dragon_rewards.exemplars import window_encoder
from dragon_rewards.storage import shards
from dragon_train.cli import main
shards.FILES, heard, sounding = 2, [], window_encoder.sounding
def dying(item):
    heard.append(item)
    if len(heard) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return sounding(item)
window_encoder.sounding = dying
main()
"""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


TEXT: Form[str] = Form(_write, lambda path: path.read_text())


def test_folders_are_named_by_the_sources_and_by_what_is_made_with_them(tmp_path: Path) -> None:
    first = cut(tmp_path, "abcde", str, ["x"])
    assert [shard.sources for shard in first] == [("a", "b"), ("c", "d"), ("e",)]
    assert first == cut(tmp_path, "abcde", str, ["x"])
    more = cut(tmp_path, "abcdefg", str, ["x"])
    assert [shard.folder for shard in more[:2]] == [shard.folder for shard in first[:2]]
    others = [*cut(tmp_path, "abcde", str, ["y"]), *cut(tmp_path, "bacde", str, ["x"])[:1], *more[2:]]
    assert not {shard.folder for shard in others} & {shard.folder for shard in first}


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    shards, computed = cut(tmp_path, "abcde", str, []), list[str]()

    def joined(sources: tuple[str, ...]) -> str:
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append("".join(sources))
        return computed[-1]

    with pytest.raises(KeyboardInterrupt):
        list(results(shards, joined, TEXT, keep=True))
    assert [shard.done for shard in shards] == [True, True, False]
    assert list(results(shards, "".join, TEXT, keep=False)) == ["ab", "cd", "e"]
    assert not shards[2].done
    computed.clear()
    assert list(results(shards, joined, TEXT, keep=True)) == ["ab", "cd", "e"]
    assert computed == ["e"]
    discard(shards)
    assert list(tmp_path.iterdir()) == []


def statistics(sets: Path, name: str, encoder: str = "logmel") -> bytes:
    return (sets / name / f"{encoder}.safetensors").read_bytes()


def test_an_encoder_that_fails_leaves_what_was_heard_before(
    music: Path, sets: Path, rows: Rows, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("exemplars", "add", "whole", music, "--encoder", "logmel")
    monkeypatch.setenv("DRAGON_CACHE", str(sets.parent / "another"))
    encode, passes = LogMel.encode_audio, list[int]()

    def failing(self: LogMel, audio: Tensor) -> Tensor:
        passes.append(len(audio))
        if sum(passes) > 5:
            raise OSError("the disk is gone")
        return encode(self, audio)

    monkeypatch.setattr(LogMel, "encode_audio", failing)
    result = dragon("exemplars", "add", "mine", music, "--encoder", "logmel")
    assert result.exit_code == 2, result.output
    assert "the disk is gone" in result.stderr
    monkeypatch.setattr(LogMel, "encode_audio", encode)
    assert "mine: encoding 5 files with 'logmel'" in dragon("exemplars", "add", "mine", "--encoder", "logmel").stderr
    assert statistics(sets, "mine") == statistics(sets, "whole")
    assert list(work_folder().iterdir()) == []


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_bits(
    music: Path, sets: Path, rows: Rows, dragon: Dragon, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("exemplars", "add", "whole", music, "--encoder", "logmel")
    monkeypatch.setenv("DRAGON_CACHE", str(sets.parent / "another"))
    command = [sys.executable, "-c", ADD, "exemplars", "add", "mine", str(music), "--encoder", "logmel"]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode == -SIGKILL, killed.stderr
    assert len(list(work_folder().iterdir())) == 2
    resumed = dragon("exemplars", "add", "mine", "--encoder", "logmel")
    assert "mine: encoding 5 files with 'logmel'" in resumed.stderr
    assert statistics(sets, "mine") == statistics(sets, "whole")


def test_statistics_of_shards_are_those_of_all_frames(
    music: Path, sets: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("exemplars", "add", "cut", music, "--encoder", "chroma")
    monkeypatch.setattr("dragon_rewards.storage.shards.FILES", 512)
    rows("exemplars", "add", "whole", music, "--encoder", "chroma")
    one, other = (read_kept(sets / name / "chroma.safetensors").gaussian for name in ("cut", "whole"))
    assert one.count == other.count
    scale = float(other.covariance.abs().max())
    torch.testing.assert_close(one.mean, other.mean, rtol=0, atol=1e-9 * scale**0.5)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=0, atol=1e-9 * scale)


def test_new_files_are_a_shard_of_their_own(music: Path, tmp_path: Path, rows: Rows, dragon: Dragon) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "logmel")
    more = write_tone(tmp_path / "more.wav", 2, seed=11)
    result = dragon("exemplars", "add", "mine", more, "--encoder", "logmel")
    assert "mine: encoding 1 file with 'logmel'" in result.stderr


def test_damaged_files_are_listed_and_what_was_read_is_kept_until_they_are_mended(
    music: Path, refused: Refused, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    (music / "3.wav").write_bytes((music / "3.wav").read_bytes()[:2000])
    (music / "7.wav").write_text("no audio")
    refusal = refused("exemplars", "add", "mine", music)
    assert "3.wav' is cut off" in refusal
    assert "7.wav' cannot be read as audio" in refusal
    assert len(list(work_folder().iterdir())) == 5
    read, content_hash = list[str](), audio.content_hash

    def noting(source: Source) -> str:
        read.append(source.path.name)
        return content_hash(source)

    monkeypatch.setattr(audio, "content_hash", noting)
    write_tone(music / "3.wav", 1, seed=3)
    (added,) = rows("exemplars", "add", "mine", music, "--skip-bad")
    assert added["examples"] == 8
    assert sorted(read) == ["2.wav", "3.wav"]  # the shard of the file that was mended


def test_clearing_the_cache_takes_what_was_left_of_work(music: Path, refused: Refused, dragon: Dragon) -> None:
    (music / "3.wav").write_text("no audio")
    refused("exemplars", "add", "mine", music)
    assert list(work_folder().iterdir())
    assert open_cache()
    assert dragon("cache", "clear").exit_code == 0
    assert not work_folder().exists()
