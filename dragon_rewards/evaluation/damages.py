"""Damages of a known strength, by which it is told what an encoder hears: noise, a low-pass filter, another pitch.

Each takes mono audio (samples,) on the CPU, its sample rate in Hz, and a generator of random numbers, and returns audio
of the same length.
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import torch
from scipy.signal import butter, sosfiltfilt

from dragon_rewards.media.clips import resample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from torch import Tensor

    Damage: TypeAlias = Callable[[Tensor, int, torch.Generator], Tensor]

NOISE = 20.0  # dB by which white noise lies below the track: heard by everyone, a bad tape
CUTOFF, ORDER = 2000.0, 4  # Hz: a telephone has 3,400
SEMITONES = 3.0  # a minor third
WINDOW, HOP = 2048, 512  # samples of the phase vocoder


def noisy(audio: Tensor, rate: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001  one signature for all
    """Return audio with white noise added, 20 dB below the audio's own level."""
    level = audio.square().mean().sqrt() * 10 ** (-NOISE / 20)
    return audio + level * torch.randn(audio.shape, generator=generator)


def low_passed(audio: Tensor, rate: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return audio without what lies above 2 kHz, by a Butterworth filter of order 4 that is run there and back."""
    sections = butter(ORDER, min(CUTOFF, 0.45 * rate), fs=rate, output="sos")
    return torch.from_numpy(sosfiltfilt(sections, audio.double().numpy()).copy()).to(audio)


def pitch_shifted(audio: Tensor, rate: int, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return audio three semitones higher and as fast as before: stretched in time, and then played faster."""
    factor = 2 ** (SEMITONES / 12)
    higher = resample(stretched(audio, factor), round(rate * factor), rate)
    return torch.nn.functional.pad(higher, (0, max(0, len(audio) - len(higher))))[: len(audio)]


def stretched(audio: Tensor, factor: float) -> Tensor:
    """Return audio (samples,) that lasts `factor` times as long at the same pitch, by a phase vocoder.

    Magnitudes are interpolated between frames, and phases go on as they went between the two frames (Flanagan and
    Golden 1966; Dolson 1986).
    """
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(audio, WINDOW, HOP, window=window, return_complex=True, pad_mode="constant")
    spectrum = torch.nn.functional.pad(spectrum, (0, 1))
    times = torch.arange(0, spectrum.shape[1] - 1, 1 / factor, dtype=torch.float64)
    before, share = times.long(), times.frac().float()
    sizes = spectrum.abs()
    size = (1 - share) * sizes[:, before] + share * sizes[:, before + 1]
    phases, expected = spectrum.angle().double(), 2 * pi * HOP / WINDOW * torch.arange(len(spectrum))[:, None]
    steps = phases[:, before + 1] - phases[:, before] - expected
    steps = steps - 2 * pi * (steps / (2 * pi)).round() + expected
    phase = torch.cat([phases[:, :1], phases[:, :1] + steps[:, :-1].cumsum(1)], dim=1)
    made = torch.polar(size.double(), phase).to(torch.complex64)
    return torch.istft(made, WINDOW, HOP, window=window, length=round(len(audio) * factor))


DAMAGES: Mapping[str, Damage] = {
    "noise": noisy,
    "low_pass": low_passed,
    "pitch_shift": pitch_shifted,
}
