"""Files that end too early, are at another scale or silent, or have names that are not UTF-8: refused, or read."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from support.sounds import tone, write_tone

from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio, read_windows, seconds_of
from dragon_rewards.media.clips import check_peak
from dragon_rewards.media.discovery import find_audio

if TYPE_CHECKING:
    from pathlib import Path

    from support.cli import Dragon, Refused, Rows

REWARD = "per-song-fad:logmel@airs"
CUT = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "SVX", "FLAC", "OGG", "MP3", "CAF")
SHARES = (0.5, 0.9)


def encoded(kind: str, subtype: str | None = None, seconds: float = 8.0, rate: int = 48_000) -> bytes:
    """Noise as a file of some kind."""
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, rate), rate, format=kind, subtype=subtype or soundfile.default_subtype(kind))
    return file.getvalue()


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(("kind", "subtype"), [*((kind, None) for kind in CUT), ("OGG", "OPUS"), ("SVX", "PCM_16")])
def test_a_file_that_is_cut_off_is_refused_however_it_is_read(
    kind: str, subtype: str | None, share: float, tmp_path: Path
) -> None:
    whole, path = encoded(kind, subtype), tmp_path / "x.bin"
    path.write_bytes(whole)
    assert read_audio(path)[0].shape[1] == sum(len(window.audio) for window in read_windows(path, 2.0, "x")) == 384_000
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AudioError, match=r"x\.bin' (is cut off|cannot be read)"):
        read_audio(path)
    with pytest.raises(AudioError, match=r"'y' (is cut off|cannot be read)"):
        list(read_windows(io.BytesIO(path.read_bytes()), 2.0, "y"))


@pytest.mark.parametrize("placeholder", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_that_could_not_know_its_length_is_whole(placeholder: int, tmp_path: Path) -> None:
    content = bytearray(encoded("WAV"))
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", placeholder)
    (tmp_path / "x.wav").write_bytes(content)
    assert read_audio(tmp_path / "x.wav")[0].shape == (1, 384_000)


def test_a_flac_from_a_pipe_is_refused_with_the_remedy(tmp_path: Path) -> None:
    content = bytearray(encoded("FLAC"))
    content[21] &= 0xF0  # STREAMINFO: 36 bits of total samples
    content[22:26] = bytes(4)
    (tmp_path / "x.flac").write_bytes(content)
    for read in (read_audio, seconds_of):
        with pytest.raises(AudioError, match=r"x\.flac' does not say how long it is; write it to a file again"):
            read(tmp_path / "x.flac")


def test_tags_around_an_mp3_are_no_part_of_its_stream(tmp_path: Path) -> None:
    tag, stream = b"ID3\4\0\0" + bytes([0, 0, 7, 104]) + bytes(1000), encoded("MP3")
    (tmp_path / "x.mp3").write_bytes(tag + stream + b"TAG" + bytes(125))
    assert read_audio(tmp_path / "x.mp3")[0].shape == (1, 384_000)
    (tmp_path / "x.mp3").write_bytes(tag + stream[: len(stream) * 9 // 10])
    with pytest.raises(AudioError, match=r"x\.mp3' is cut off: it declares"):
        seconds_of(tmp_path / "x.mp3")


def test_raw_samples_say_nothing_of_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"x\.raw' cannot be read as audio"):
        read_audio(tmp_path / "x.raw")


def test_truncated_files_are_neither_scored_nor_taken_as_exemplars(
    tmp_path: Path, dragon: Dragon, refused: Refused
) -> None:
    whole = write_tone(tmp_path / "a.wav", 5.0)
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:80_000])
    for command in (
        ("score", REWARD, whole),
        ("rank", "--reward", REWARD, whole),
        ("compare", tmp_path, "--rewards", REWARD),
        ("exemplars", "add", "m"),
    ):
        refusal = refused(*command, tmp_path if command[0] == "compare" else tmp_path / "cut.wav")
        assert (
            f"'{tmp_path / 'cut.wav'}' is cut off: it declares 160,000 bytes and has 79,956; get or export" in refusal
        )
    assert dragon("exemplars", "list").stdout == ""


@pytest.mark.parametrize("reward", ["vendi:logmel", "dataset-fad:logmel@airs"])
def test_a_damaged_file_is_refused_before_a_set_that_is_too_small(
    reward: str, tmp_path: Path, refused: Refused
) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        write_tone(folder / "x.wav", 2.0)
    commands = (("score", reward), ("rank", "--reward", reward), ("compare", folders[0], "--rewards", reward))
    for command in commands:
        assert "judges at least 2 clips" in refused(*command, folders[1])
    bad = folders[1] / "x.wav"
    bad.write_bytes(bad.read_bytes()[:30_000])
    for command in commands:
        refusal = refused(*command, folders[1])
        assert f"'{bad}' is cut off" in refusal
        assert "at least" not in refusal


def test_floats_at_the_scale_of_16_bits_are_refused_with_their_peak(tmp_path: Path, refused: Refused) -> None:
    samples = tone(5.0, 16_000)
    soundfile.write(tmp_path / "big.wav", samples * 32_768, 16_000, subtype="FLOAT")
    peak = f"has a peak of {float(np.abs(samples).max() * 32_768):.5g}, and full scale is 1; if these are 16-bit"
    for command in (("score", REWARD), ("rank", "--reward", REWARD), ("exemplars", "add", "m")):
        assert peak in refused(*command, tmp_path / "big.wav")


@pytest.mark.parametrize("peak", [0.99e-4, 0.0])
def test_what_is_too_quiet_is_silent(peak: float, tmp_path: Path, refused: Refused) -> None:
    samples = tone(2.0, 16_000)
    soundfile.write(tmp_path / "quiet.wav", peak * samples / np.abs(samples).max(), 16_000, subtype="FLOAT")
    for command in (("score", REWARD), ("exemplars", "add", "m")):
        assert "quiet.wav' is silent" in refused(*command, tmp_path / "quiet.wav")


def test_what_is_loud_or_quiet_but_may_be_meant_is_taken() -> None:
    for peak in (1.01e-4, 1.0, 7.99):
        check_peak(peak, "x")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are bytes")
def test_names_that_are_not_utf8_are_read_and_shown_escaped(tmp_path: Path, dragon: Dragon) -> None:
    folder, second = tmp_path / "d", tmp_path / "e"
    path = write_tone(folder / "plain.wav", 1.0).rename(folder / os.fsdecode(b"caf\xe9.wav"))
    write_tone(second / "plain.wav", 1.0, seed=1)
    shown, table = r"caf\udce9.wav", tmp_path / "out.csv"

    def run(*arguments: object) -> str:
        result = dragon(*arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout_bytes.decode("utf-8")  # strictly

    assert shown in run("score", REWARD, folder, "--csv", table)
    assert pd.read_csv(table)["path"].tolist() == [str(folder / shown)]
    (row,) = json.loads(run("rank", folder, "--reward", REWARD, "--json"))
    assert row["path"] == str(path)
    run("compare", folder, second, "--rewards", REWARD)
    run("exemplars", "add", "m", path, "--encoder", "logmel")
    assert shown in run("exemplars", "show", "m", "--json")
    path.write_text("no audio")
    assert shown in dragon("score", REWARD, path).stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are bytes")
def test_a_process_shows_such_names_too(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "plain.wav", 1.0).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    command = [sys.executable, "-m", "dragon_train.cli", "score", REWARD, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert r"caf\udce9.wav" in done.stdout.decode("utf-8")


def bad_files(folder: Path) -> set[str]:
    """Writes one of each kind; their names."""
    cut = write_tone(folder / "cut.wav", 2.0, seed=8)
    cut.write_bytes(cut.read_bytes()[:30_000])
    (folder / "text.flac").write_text("no audio")
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(folder / "big.wav", 9 + np.zeros(16_000), 16_000, subtype="FLOAT")
    return {"cut.wav", "text.flac", "silent.wav", "nan.wav", "big.wav"}


def test_bad_files_are_named_counted_and_left_out_when_told_to(tmp_path: Path, dragon: Dragon, rows: Rows) -> None:
    good = [write_tone(tmp_path / "d" / f"{seed}.wav", 2.0, seed=seed) for seed in range(3)]
    alone = {command: rows(*command, tmp_path / "d") for command in (("score", REWARD), ("rank", "--reward", REWARD))}
    bad = bad_files(tmp_path / "d")
    for command, expected in alone.items():
        assert dragon(*command, tmp_path / "d").exit_code == 2
        result = dragon(*command, tmp_path / "d", "--skip-bad", "--json")
        assert json.loads(result.stdout) == expected
        assert "left out 5 of 8 files:" in result.stderr
        assert {name for name in bad if f"{name}'" in result.stderr} == bad
    assert find_audio([tmp_path / "d"])[:3] == good
    only = dragon("score", REWARD, *(tmp_path / "d" / name for name in bad), "--skip-bad")
    assert (only.exit_code, only.stdout) == (2, "")
    assert "none of 5 files can be used" in only.stderr


def test_partners_of_bad_files_are_left_out_of_a_comparison(tmp_path: Path, dragon: Dragon) -> None:
    for side in "ab":
        for name in range(3):
            write_tone(tmp_path / side / f"{name}.wav", 2.0, seed=name + 10 * (side == "b"))
    result = dragon("compare", tmp_path / "a", tmp_path / "b", "--rewards", REWARD, "--json")
    for side in "ab":
        write_tone(tmp_path / side / "text.wav", 2.0, seed=20)
    (tmp_path / "b" / "text.wav").write_text("no audio")
    left = dragon("compare", tmp_path / "a", tmp_path / "b", "--rewards", REWARD, "--skip-bad", "--json")
    assert json.loads(left.stdout) == json.loads(result.stdout)
    assert "left out 1 of 8 files:" in left.stderr
    assert "A has 3 clips, B 3; clips are compared by name" in left.stderr


def test_windows_and_one_pass_have_the_same_samples(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.flac", 7.3, 44_100, channels=2)
    whole = read_audio(path)[0].mean(0)
    cut = [window.audio for window in read_windows(path, 2.0, "a")]
    assert torch.equal(torch.cat(cut), whole)
