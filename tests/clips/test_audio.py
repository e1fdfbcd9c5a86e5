"""Real files in, real files out, and every clip that must be refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.media.clips import Clips, resample, to_mono
from dragon_rewards.media.discovery import find_audio

RATES = (44_100, 48_000, 32_000, 24_000, 16_000)


def tone(frequency: float, rate: int, seconds: float = 0.5) -> torch.Tensor:
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_round_trip(tmp_path: Path, suffix: str, channels: int) -> None:
    audio = torch.stack([tone(440.0, 44_100)] * channels)
    write_audio(tmp_path / f"a{suffix}", audio, 44_100)
    read, rate = read_audio(tmp_path / f"a{suffix}")
    assert (rate, read.dtype, read.shape[0]) == (44_100, torch.float32, channels)
    if suffix in {".wav", ".flac"}:
        torch.testing.assert_close(read, audio, atol=2**-15, rtol=0)
    assert abs(read.abs().max() - 0.5) < 0.05


def test_one_dimension_is_one_channel(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(440.0, 8_000), 8_000)
    assert read_audio(tmp_path / "a.wav")[0].shape == (1, 4_000)


def test_missing_foreign_and_empty_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not audio")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    for name, reason in {"gone": "not a file", "notes": "cannot be read", "empty": "no samples"}.items():
        with pytest.raises(AudioError, match=rf"{name}\.wav.*{reason}"):
            read_audio(tmp_path / f"{name}.wav")


def test_folders_are_searched_recursively_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ["deep/er/b.FLAC", "a.wav", "deep/c.ogg", "deep/notes.txt"]:
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio([tmp_path / "deep/c.ogg", tmp_path])]
    assert found == ["deep/c.ogg", "a.wav", "deep/er/b.FLAC"]


def test_empty_folder_and_missing_path_are_named(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(AudioError, match=r"nothing' holds no audio"):
        find_audio([tmp_path / "nothing"])
    with pytest.raises(AudioError, match="gone' does not exist"):
        find_audio([tmp_path / "gone"])


def test_mono_is_the_mean_of_the_channels() -> None:
    assert to_mono(torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize("source", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_tone(source: int) -> None:
    clips = torch.stack([tone(440.0, source), tone(1_000.0, source)])
    resampled = resample(clips, source, 16_000)
    expected = torch.stack([tone(440.0, 16_000), tone(1_000.0, 16_000)])
    torch.testing.assert_close(resampled[:, 500:-500], expected[:, 500:-500], atol=2e-3, rtol=0)


def test_resampling_treats_each_clip_alone_and_equal_rates_do_nothing() -> None:
    clips = torch.randn(3, 2, 4_410)
    together = resample(clips, 44_100, 16_000)
    assert together.shape == (3, 2, 1_600)
    assert torch.equal(together[1, 0], resample(clips[1, 0], 44_100, 16_000))
    assert resample(clips, 16_000, 16_000) is clips


@pytest.mark.parametrize("clips", [1, 2, 5])
def test_clips_of_one_sample_are_resampled_as_each_alone(clips: int) -> None:
    audio = torch.linspace(0.1, 0.9, clips)[:, None]
    alone = torch.stack([resample(clip, 16_000, 48_000) for clip in audio])
    assert alone.shape == (clips, 3)
    assert torch.equal(resample(audio, 16_000, 48_000), alone)


def sines(rate: int, frequencies: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """A second of their sum, as it would be sampled at `rate` Hz, in float64."""
    time = torch.arange(rate, dtype=torch.float64) / rate
    return torch.sin(2 * torch.pi * frequencies[:, None] * time + phases[:, None]).mean(0)


@settings(deadline=None, max_examples=30)
@given(rates=st.permutations(RATES), seed=st.integers(0, 2**31))
def test_with_gradients_a_band_limited_signal_is_resampled_exactly_and_as_soxr_does(
    rates: list[int], seed: int
) -> None:
    source, target = rates[:2]
    draws = torch.rand(2, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    parts = 0.9 * min(source, target) / 2 * draws[0], 2 * torch.pi * draws[1]
    audio, expected = sines(source, *parts), sines(target, *parts)
    peak, middle = audio.abs().max(), slice(target // 20, -target // 20)
    found = resample(audio.clone().requires_grad_(), source, target).detach()
    assert found.shape == expected.shape
    assert (found - expected)[middle].abs().max() < 1e-6 * peak
    assert (found - resample(audio, source, target))[middle].abs().max() < 1e-3 * peak
    quick = resample(audio.float().requires_grad_(), source, target)
    torch.testing.assert_close(quick.double(), found, atol=2e-6 * float(peak), rtol=0)


@given(rates=st.permutations(RATES), samples=st.integers(1, 2_000))
@example(rates=[48_000, 44_100], samples=2_000)  # 1837.5 samples
@example(rates=[44_100, 16_000], samples=1)  # none
def test_with_gradients_there_are_as_many_samples(rates: list[int], samples: int) -> None:
    audio = torch.ones(2, samples)
    found = resample(audio.clone().requires_grad_(), *rates[:2])
    assert found.shape == resample(audio, *rates[:2]).shape


@pytest.mark.parametrize(("source", "target"), [(3, 2), (2, 3), (44_100, 16_000)])
def test_gradients_of_resampling_are_its_derivatives(source: int, target: int) -> None:
    audio = torch.randn(2, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda clips: resample(clips, source, target), audio)


def test_audio_is_not_resampled_for_an_encoder_that_hears_none() -> None:
    with pytest.raises(AudioError, match="to 0 Hz; name an encoder that hears audio"):
        resample(torch.zeros(441), 44_100, 0)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (torch.zeros(0), "no samples"),
        (torch.tensor([0.1, float("nan")]), "not finite"),
        (torch.tensor([0.1, float("-inf")]), "not finite"),
        (torch.full((2, 100), 9e-6), "silent"),
    ],
)
def test_clips_that_cannot_be_judged_are_named(clip: torch.Tensor, reason: str) -> None:
    with pytest.raises(AudioError, match=f"'song'.*{reason}"):
        Clips([torch.ones(100), clip], 8_000, names=["another", "song"])


def test_a_quiet_clip_is_taken() -> None:
    assert len(Clips([torch.tensor([0.0, 1.1e-5])], 8_000)) == 1


def test_a_minute_of_ogg_is_written(tmp_path: Path) -> None:
    """In one call libsndfile writes so much with a segmentation fault."""
    noise = torch.rand(2, 65 * 44_100, generator=torch.Generator().manual_seed(0)) - 0.5
    write_audio(tmp_path / "long.ogg", noise, 44_100)
    assert read_audio(tmp_path / "long.ogg")[0].shape == noise.shape
