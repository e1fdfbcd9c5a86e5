"""Loudness of signals whose level the standard states, gain, and the share of silence."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dragon_rewards.errors import AudioError
from dragon_rewards.media.loudness import gain_to, loudness, silence


def sine(rate: int, seconds: float, level: float = 0.0) -> Tensor:
    """A tone of 997 Hz whose peak is at `level` dBFS."""
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return 10 ** (level / 20) * torch.sin(2 * math.pi * 997 * time)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 5.3])
def test_a_full_scale_sine_has_the_standards_level(rate: int, seconds: float) -> None:
    assert loudness(sine(rate, seconds), rate) == pytest.approx(-3.01, abs=0.1)


@given(st.floats(-45, 20))
@settings(max_examples=20, deadline=None)
def test_gain_adds_its_decibels(decibels: float) -> None:
    tone = sine(16_000, 1.0, -20.0)
    louder = tone * 10 ** (decibels / 20)
    assert loudness(louder, 16_000) - loudness(tone, 16_000) == pytest.approx(decibels, abs=1e-6)


def test_quiet_parts_are_gated() -> None:
    tone, quiet = sine(48_000, 6.0, -20.0), sine(48_000, 6.0, -50.0)
    assert loudness(torch.cat([tone, quiet]), 48_000) == pytest.approx(loudness(tone, 48_000), abs=0.25)
    assert loudness(torch.cat([tone, tone / 2]), 48_000) < loudness(tone, 48_000) - 1  # -26 dB passes: the mean falls


def test_silence_has_no_loudness_and_cannot_be_made_louder() -> None:
    assert loudness(sine(16_000, 1.0, -80.0), 16_000) == -math.inf
    with pytest.raises(AudioError, match="below -70 LUFS cannot be brought to -23 LUFS"):
        gain_to(-23.0, torch.zeros(16_000), 16_000)


def test_gain_reaches_the_target_of_noise() -> None:
    noise = 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    assert loudness(gain_to(-23.0, noise, 16_000) * noise, 16_000) == pytest.approx(-23.0, abs=1e-4)


def test_silence_is_the_share_below_its_level() -> None:
    assert silence(sine(16_000, 1.0, -50.0), 16_000) == 0.0
    assert silence(sine(16_000, 1.0, -70.0), 16_000) == 1.0
    assert silence(torch.cat([sine(16_000, 1.0), torch.zeros(3 * 16_000)]), 16_000) == 0.75
    assert silence(torch.zeros(10), 16_000) == 1.0


@pytest.mark.parametrize("measure", [loudness, silence])
def test_what_has_no_level_is_refused(measure: Callable[[Tensor, int], float]) -> None:
    for audio, rate, reason in (
        (torch.zeros(2, 100), 16_000, "not of \\(2, 100\\)"),
        (torch.zeros(0), 16_000, "not of \\(0,\\)"),
        (torch.full((100,), math.nan), 16_000, "finite"),
        (torch.zeros(100), 0, "not 0"),
    ):
        with pytest.raises(AudioError, match=reason):
            measure(audio, rate)
