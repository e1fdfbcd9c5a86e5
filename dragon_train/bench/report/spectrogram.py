"""Pictures of the spectrum of clips over time, on the mel scale, and the ticks of their axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from transformers.audio_utils import hertz_to_mel, mel_filter_bank

from dragon_rewards.encoders.spectral import power_spectrum, unit_window

if TYPE_CHECKING:
    from torch import Tensor

N_FFT, BANDS, COLUMNS = 1024, 64, 240
LOWEST = 30.0  # Hz
LEVELS = 32  # colours: fewer would show as steps, and more as kilobytes
FLOOR, CEILING = -70.0, 0.0  # dB of a full-scale sine: the same for all clips, so that loudness shows
INK = ("0b0f1c", "2b2a5e", "6b3a8c", "b94a7d", "ee7b51", "fbc15e", "fcf7d0")  # dark to light, evenly lighter
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)  # seconds from tick to tick
TICKS = 6  # at most, beside 0
EDGE = 0.06  # share of the axis at either end where a label would be cut
KILO = 1_000
PITCHES = (200, 500, 1_000, 2_000, 4_000, 8_000, 16_000)  # Hz


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis of a picture.

    Attributes:
        place: share of the axis, from 0 at the left or the top to 1.
        text: its label.
    """

    place: float
    text: str


def time_ticks(seconds: float) -> tuple[Tick, ...]:
    """Return ticks of the time axis of a picture that is so many seconds long.

    >>> [tick.text for tick in time_ticks(5.12)]
    ['0', '1', '2', '3', '4', '5']
    """
    step = next((step for step in STEPS if seconds / step <= TICKS), STEPS[-1])
    return tuple(Tick(at * step / seconds, f"{at * step:g}") for at in range(int(seconds / step) + 1))


def pitch_ticks(highest: float) -> tuple[Tick, ...]:
    """Return ticks of the frequency axis, in Hz, of a picture that reaches up to `highest` Hz.

    Band b of B has its centre at (b + 1) / (B + 1) of the mel scale, and in the picture at (b + 1/2) / B.

    >>> [tick.text for tick in pitch_ticks(8_000.0)]
    ['500', '1k', '2k', '4k']
    """
    low, high, *pitches = (hertz_to_mel(pitch, mel_scale="slaney") for pitch in (LOWEST, highest, *PITCHES))
    places = [1 - float((mel - low) / (high - low) * (BANDS + 1) - 0.5) / BANDS for mel in pitches]
    named = [f"{pitch // KILO}k" if pitch >= KILO else str(pitch) for pitch in PITCHES]
    ticks = map(Tick, places, named)
    return tuple(tick for tick in ticks if EDGE < tick.place < 1 - EDGE)


def log_mel(audio: Tensor, rate: int) -> Tensor:
    """Return the mel spectrogram of mono audio (samples,): (bands, frames) in dB of a full-scale sine, low bands first.

    There are about `COLUMNS` frames, and fewer of a very short clip, which is padded with silence to one at least.
    """
    padded = torch.nn.functional.pad(audio.detach().cpu().float(), (0, max(0, N_FFT - len(audio))))
    hop = max(1, (len(padded) - N_FFT) // (COLUMNS - 1))
    power = power_spectrum(padded[None], unit_window(N_FFT), hop)[0]
    bank = mel_filter_bank(
        N_FFT // 2 + 1, BANDS, LOWEST, rate / 2, rate, mel_scale="slaney", triangularize_in_mel_space=True
    )
    return 10 * (power @ torch.from_numpy(bank).float() + 1e-10).log10().T


def spectrogram(decibels: Tensor) -> Image.Image:
    """Draw a spectrogram (bands, frames) in dB with low bands at the bottom."""
    levels = ((decibels - FLOOR) / (CEILING - FLOOR)).clamp(0, 1).flip(0)
    picture = Image.fromarray((levels * (LEVELS - 1)).round().byte().numpy())
    picture.putpalette(palette())
    return picture


def palette() -> bytes:
    """Return the `LEVELS` colours of spectrograms as bytes (red, green, blue), interpolated between those in `INK`."""
    anchors = np.array([list(bytes.fromhex(colour)) for colour in INK], float)
    places = np.linspace(0, len(INK) - 1, LEVELS)
    channels = [np.interp(places, np.arange(len(INK)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()
