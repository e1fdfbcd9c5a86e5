"""Damage of known severity, in [0, 1], to mono clips at 16 kHz: what ratings can be made of without listeners.

The kinds and their strengths are those by which the head `aesthetics-degradation` was fitted
(reports/embedded/fit_aesthetics.py).
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
    """White noise, from 50 dB below the clip to its own level."""
    level = float(audio.std()) * 10 ** (-2.5 * (1 - severity))
    return audio + level * rng.standard_normal(len(audio))


def detuning(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """A slow wobble of pitch, up to 6% either way."""
    time, rate = np.arange(len(audio)) / SAMPLE_RATE, rng.uniform(1, 3)
    return np.interp(time + severity * 0.06 / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * time), time, audio)


def clipping(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:  # noqa: ARG001  one signature for all
    """Hard clipping at 100% to 3% of the peak, peak restored."""
    share = 0.03**severity
    peak = float(np.abs(audio).max())
    clipped: Audio = np.clip(audio, -peak * share, peak * share) / share
    return clipped


def dropouts(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Up to 40 gaps of 40 ms."""
    damaged, gap = audio.copy(), SAMPLE_RATE // 25
    for start in rng.integers(0, len(audio) - gap, round(40 * severity)):
        damaged[start : start + gap] = 0
    return damaged


def timing_jitter(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Every 64 ms comes up to 100 ms early or late."""
    size = 1024
    starts = np.arange(0, len(audio) - size + 1, size)
    moved = starts + (severity * rng.uniform(-1600, 1600, len(starts))).astype(int)
    return np.concatenate([audio[start : start + size] for start in np.clip(moved, 0, len(audio) - size)])


DAMAGES: tuple[Callable[[Audio, float, np.random.Generator], Audio], ...] = (
    noise, detuning, clipping, dropouts, timing_jitter,
)  # fmt: skip


def damaged(audio: NDArray[np.float32], severity: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """One kind of damage, chosen at random."""
    kind = DAMAGES[rng.integers(len(DAMAGES))]
    return kind(audio.astype(np.float64), severity, rng).astype(np.float32)
