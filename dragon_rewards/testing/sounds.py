"""Synthetic sounds that are the same on every call: chords, chirps, noise, and tones that end in digital silence."""

from __future__ import annotations

from math import tau

import torch
from torch import Tensor


def sounds(count: int, rate: int, seconds: float, seed: int = 0) -> Tensor:
    """Make mono audio (count, samples) at `rate` Hz, with peaks below 1; each clip has another pitch."""
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    kinds = (_chord, _chirp, _noise, _ending)
    made = [kinds[clip % len(kinds)](time, 130.0 * 2 ** ((7 * clip + seed) % 24 / 12)) for clip in range(count)]
    return torch.stack(made).float()


def melody(rate: int, seconds: int) -> Tensor:
    """Make a chord (samples,) at `rate` Hz that swells and fades.

    It lies below 1.5 kHz and is 0 at both ends, so that resampling keeps it.
    """
    time = torch.arange(rate * seconds, dtype=torch.float64) / rate
    return (_chord(time, 196.0) * (torch.pi * time / seconds).sin().square()).float()


def _chord(time: Tensor, pitch: float) -> Tensor:
    return 0.2 * sum((torch.sin(tau * ratio * pitch * time) for ratio in (1, 1.25, 1.5, 4)), torch.zeros_like(time))


def _chirp(time: Tensor, pitch: float) -> Tensor:
    """Make a tone that rises from `pitch` to five times it; the phase is the integral of the frequency."""
    return 0.5 * torch.sin(tau * pitch * (time + 2 * time.square() / time[-1]))


def _noise(time: Tensor, pitch: float) -> Tensor:
    generator = torch.Generator().manual_seed(round(pitch))
    noise = torch.randn(len(time), generator=generator, dtype=torch.float64)
    return 0.1 * noise.clamp(-5, 5)


def _ending(time: Tensor, pitch: float) -> Tensor:
    return _chord(time, pitch) * (time < 0.6 * time[-1])
