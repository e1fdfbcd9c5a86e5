"""Long files are heard in the windows that exemplar sets use, a few at a time; short ones as they always were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from support.sounds import tone, write_tone

from dragon_rewards import compose
from dragon_rewards import encoding as hearing
from dragon_rewards.compute.devices import CPU
from dragon_rewards.encoding import EncodingJob, Files, cut_of, encode_files
from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_mono, read_windows
from dragon_rewards.media.clips import Clips, resample
from dragon_rewards.media.cut import LONGEST, Cut
from dragon_rewards.media.loudness import confounders, loudness, measured

if TYPE_CHECKING:
    from support.cli import Dragon, Rows
    from torch import Tensor

FAD = "per-song-fad:logmel"
PEAK = """
import sys
from pathlib import Path
sys.argv[0] = "dragon"
from dragon_train.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()  # getrusage tells the most of who started it, too
    print(int(status.split("VmHWM:")[1].split()[0]) // 1024, file=sys.stderr)
"""


def nothing(_: int) -> None: ...


def write_long(path: Path, seconds: int, rate: int = 16_000, channels: int = 1) -> Path:
    """Tones of another pitch every ten seconds; libvorbis overflows its stack where more is written at once."""
    with soundfile.SoundFile(path, "w", rate, channels) as sound:
        for part in range(-(-seconds // 10)):
            sound.write(tone(min(10, seconds - 10 * part), rate, part, channels))
    return path


def frames_of(audio: Tensor, rate: int) -> Tensor:
    reward = compose("vendi:logmel")
    return reward.embeddings(Clips([resample(audio, rate, 16_000)], 16_000)).frames[0]


def heard(path: Path) -> Tensor:
    rewards = [compose("vendi:logmel")]
    return rewards[0].embeddings(encode_files(EncodingJob(rewards, CPU, None, nothing), Files([path]))).frames[0]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_of_up_to_five_minutes_are_heard_in_one_pass(tmp_path: Path, suffix: str) -> None:
    path = write_long(tmp_path / f"a.{suffix}", 65, 44_100, 2)
    assert torch.equal(heard(path), frames_of(*read_mono(path)))


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_longer_ones_in_windows_of_30_s(tmp_path: Path, suffix: str) -> None:
    path = write_long(tmp_path / f"a.{suffix}", int(LONGEST) + 11)
    windows = [frames_of(window.audio, window.rate) for window in read_windows(path, 30.0, "a")]
    assert len(windows) == 11
    torch.testing.assert_close(heard(path), torch.cat(windows), rtol=1e-5, atol=1e-6)


def test_long_and_short_files_come_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "cut_of", lambda _: Cut(2.0, 2.0))
    paths = [write_tone(tmp_path / f"{row}.wav", length, seed=row) for row, length in enumerate((5, 1, 7.5, 2, 3.5))]
    rewards, steps = [compose("vendi:logmel"), compose("vendi:chroma")], list[int]()
    together = encode_files(EncodingJob(rewards, CPU, None, steps.append), Files(paths, list("abcde")))
    assert (together.names, together.prompts) == (tuple(map(str, paths)), tuple("abcde"))
    assert sum(steps) == 3 * len(paths)
    for path, frames in zip(paths, rewards[0].embeddings(together).frames, strict=True):
        own = [frames_of(window.audio, window.rate) for window in read_windows(path, 2.0, "a")]
        torch.testing.assert_close(frames, torch.cat(own), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window", [2.0, 30.0])
@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg"])
def test_a_track_against_the_set_of_itself_gives_0(tmp_path: Path, rows: Rows, window: float, suffix: str) -> None:
    audio = np.concatenate([tone(33.0, 22_050, 1), np.zeros((31 * 22_050, 1), "f4"), tone(7.4, 22_050, 2)])
    with soundfile.SoundFile(tmp_path / f"a.{suffix}", "w", 22_050, 1) as sound:
        for part in np.split(audio, range(220_500, len(audio), 220_500)):
            sound.write(part)
    rows("exemplars", "add", "mine", tmp_path / f"a.{suffix}", "--window", window)
    for reward in (f"{FAD}@mine", "per-song-fad:chroma@mine"):
        (row,) = rows("score", reward, tmp_path / f"a.{suffix}")
        assert row["value"] < 1e-9
    assert cut_of(compose(f"{FAD}@mine")) == Cut(window, window)


def test_long_files_score_rank_and_compare_as_alone(tmp_path: Path, dragon: Dragon) -> None:
    for side, seed in (("a", 0), ("b", 7)):
        (tmp_path / side).mkdir()
        write_long(tmp_path / side / "long.wav", int(LONGEST) + 40)
        write_tone(tmp_path / side / "short.wav", 3.0, seed=seed)
    scored = json.loads(dragon("score", f"{FAD}@airs", tmp_path / "a", "--json").stdout)
    alone = json.loads(dragon("score", f"{FAD}@airs", tmp_path / "a" / "long.wav", "--json").stdout)
    ranked = json.loads(dragon("rank", tmp_path / "a", "--reward", f"{FAD}@airs", "--json").stdout)
    assert [Path(row["path"]).name for row in scored] == ["long.wav", "short.wav"]
    assert scored[0]["value"] == alone[0]["value"]
    assert {row["path"]: row["value"] for row in ranked} == {row["path"]: row["value"] for row in scored}
    result = dragon("compare", tmp_path / "a", tmp_path / "b", "--rewards", f"{FAD}@airs", "--json")
    (row,) = json.loads(result.stdout)
    assert row["a"] == pytest.approx(sum(each["value"] for each in scored) / 2)
    assert row["duration_a"] == pytest.approx((LONGEST + 43) / 2)


@pytest.mark.parametrize(("factor", "why"), [(40.0, "has a peak of"), (1e-4, "is silent"), (np.nan, "not finite")])
def test_long_files_that_cannot_be_judged_are_refused(tmp_path: Path, factor: float, why: str) -> None:
    audio = np.tile(tone(60.0, 8_000), (6, 1))
    audio[-8_000 * 31 :] *= factor
    soundfile.write(tmp_path / "a.wav", audio if factor > 1 else audio * factor, 8_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=f"a.wav' .*{why}|a.wav' {why}"):
        heard(tmp_path / "a.wav")


def test_what_is_measured_in_parts_is_near_to_what_is_measured_whole() -> None:
    audio = torch.from_numpy(np.concatenate([tone(40.0, 16_000, 1), 0.01 * tone(20.0, 16_000, 2)])[:, 0])
    whole, parts = measured(audio, 16_000), [measured(part, 16_000) for part in audio.split(16_000 * 13)]
    found = confounders(parts)
    assert found["duration"] == 60.0
    assert found["loudness"] == pytest.approx(loudness(audio, 16_000), abs=0.05)
    assert found["silence"] == pytest.approx(whole.silence, abs=0.01)
    assert confounders([whole]) == {"duration": 60.0, "loudness": whole.loudness, "silence": whole.silence}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes of the largest resident set")
def test_an_hour_takes_no_more_memory_than_six_minutes(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path = write_long(tmp_path / f"{seconds}.wav", seconds, 16_000, 2)
        command = [sys.executable, "-c", PEAK, "score", f"{FAD}@airs", str(path)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()[-1])

    least, most = peak(360), peak(3_600)
    assert most < least + 200  # MB: the samples take 400 MB more, mixed 200, and the frames 30; the allocator is uneven
    assert most < 700
