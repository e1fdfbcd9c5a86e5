"""Damage mono clips at 16 kHz with a known severity, from which ratings can be made without listeners.

Every kind of damage takes a clip (samples,), a severity in [0, 1], where 0 leaves the clip as it is and 1 is the worst,
and a generator of random numbers. The kinds and their strengths are the ones by which the head `aesthetics-degradation`
was fitted (reports/embedded/fit_aesthetics.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Audio = NDArray[np.float64]

SAMPLE_RATE = 16_000


def noise(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Add white noise, from 50 dB below the clip's own level at severity 0 to that level at severity 1."""
    level = float(audio.std()) * 10 ** (-2.5 * (1 - severity))
    return audio + level * rng.standard_normal(len(audio))


def detuning(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Wobble the pitch slowly, 1 to 3 times a second, by up to 6% either way at severity 1."""
    time, rate = np.arange(len(audio)) / SAMPLE_RATE, rng.uniform(1, 3)
    return np.interp(time + severity * 0.06 / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * time), time, audio)


def clipping(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:  # noqa: ARG001  one signature for all
    """Clip the waveform at a share of its peak, from 100% at severity 0 to 3% at severity 1, and restore the peak."""
    share = 0.03**severity
    peak = float(np.abs(audio).max())
    clipped: Audio = np.clip(audio, -peak * share, peak * share) / share
    return clipped


def dropouts(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Silence gaps of 40 ms at random places: none at severity 0, 40 gaps at severity 1."""
    damaged, gap = audio.copy(), SAMPLE_RATE // 25
    for start in rng.integers(0, len(audio) - gap, round(40 * severity)):
        damaged[start : start + gap] = 0
    return damaged


def timing_jitter(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Fill every block of 64 ms with audio from up to 100 ms earlier or later, at severity 1.

    What does not fill a last block is cut off.
    """
    size = 1024
    starts = np.arange(0, len(audio) - size + 1, size)
    moved = starts + (severity * rng.uniform(-1600, 1600, len(starts))).astype(int)
    return np.concatenate([audio[start : start + size] for start in np.clip(moved, 0, len(audio) - size)])


DAMAGES: tuple[Callable[[Audio, float, np.random.Generator], Audio], ...] = (
    noise, detuning, clipping, dropouts, timing_jitter,
)  # fmt: skip


def damaged(audio: NDArray[np.float32], severity: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a clip (samples,) with one kind of damage, chosen at random from `DAMAGES`."""
    kind = DAMAGES[rng.integers(len(DAMAGES))]
    return kind(audio.astype(np.float64), severity, rng).astype(np.float32)
