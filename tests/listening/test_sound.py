"""What raters hear: matched loudness, nothing that clips, nothing that tells which is which."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
import soundfile
import torch
from pyloudnorm import Meter
from support.listening import tone

from dragon_rewards.errors import AudioError
from dragon_rewards.evaluation.listening.sound import encode, level, measure, read_pair
from dragon_rewards.media.audio import write_audio

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a.wav", tmp_path / "b.wav"


def heard(files: tuple[Path, Path]) -> list[tuple[float, int, int, float]]:
    """Loudness by the library, rate, channels and error of both files as they are decoded."""
    a, b, rate = read_pair(*files)
    facts = []
    for audio, (gain, seconds) in zip((a, b), measure(*files), strict=True):
        samples, decoded = soundfile.read(io.BytesIO(encode(audio, rate, gain)), always_2d=True)
        assert len(samples) == round(seconds * decoded)
        error = float(abs(samples.T - (audio * gain).numpy()).max())
        facts.append((Meter(decoded).integrated_loudness(samples), decoded, samples.shape[1], error))
    return facts


def test_the_louder_comes_down_to_the_quieter(files: tuple[Path, Path]) -> None:
    for path, hertz, amplitude in zip(files, (220, 3000), (0.05, 0.7), strict=True):
        write_audio(path, tone(hertz, amplitude, seconds=2), 16_000)
    (quiet, *_), (loud, *_) = heard(files)
    assert loud == pytest.approx(quiet, abs=0.01)
    a, b, rate = read_pair(*files)
    assert quiet == pytest.approx(min(level(a, rate), level(b, rate)), abs=0.01)
    assert level(b, rate) - level(a, rate) > 20


def test_formats_tell_nothing(files: tuple[Path, Path]) -> None:
    write_audio(files[0], tone(440, 0.5, seconds=2), 16_000)
    wide = torch.stack([tone(440, 0.3, 44_100, 2), tone(660, 0.1, 44_100, 2)])
    write_audio(files[1], wide, 44_100)
    (mono, *first), (stereo, *second) = heard(files)
    assert first[:2] == second[:2] == [44_100, 2]
    assert mono == pytest.approx(stereo, abs=0.05)


def test_nothing_clips(files: tuple[Path, Path], tmp_path: Path) -> None:
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, 1.5 * tone(440, 1.0, seconds=2).numpy(), 16_000, subtype="FLOAT")
    write_audio(files[1], tone(500, 0.9999, seconds=2), 16_000)
    for _, _, _, error in heard((loud, files[1])):
        assert error < 2 / 2**15
    assert measure(loud, loud)[0].gain == pytest.approx(1 / 1.5, rel=1e-3)


def test_clips_without_a_loudness_are_refused(files: tuple[Path, Path]) -> None:
    write_audio(files[0], tone(440, 0.5), 16_000)
    soundfile.write(files[1], tone(440, 2e-4).numpy(), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"b\.wav' is too quiet"):
        measure(*files)


def test_channels_that_do_not_match_are_refused(files: tuple[Path, Path]) -> None:
    for path, channels in zip(files, (2, 3), strict=True):
        write_audio(path, torch.stack([tone(440, 0.5)] * channels), 16_000)
    with pytest.raises(AudioError, match=r"2 channels and .* 3"):
        read_pair(*files)


def test_the_file_carries_no_tags(files: tuple[Path, Path]) -> None:
    audio: Tensor = tone(440, 0.5)[None]
    with soundfile.SoundFile(files[0], "w", 16_000, 1, "PCM_16") as file:
        file.title = "the tuned one"
        file.write(audio[0].numpy())
    write_audio(files[1], audio[0], 16_000)
    a, _, rate = read_pair(*files)
    assert b"tuned" in files[0].read_bytes()
    assert b"tuned" not in encode(a, rate, 1.0)
