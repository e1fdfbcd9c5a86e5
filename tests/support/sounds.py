"""Audio that tests write or hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch


def tone(seconds: float, rate: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    """A tone of a seeded pitch in noise, (samples, channels)."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 110 * 2 ** (random.integers(0, 36) / 12)
    wave = 0.2 * np.sin(2 * np.pi * pitch * time)[:, None] + 0.02 * random.standard_normal((len(time), channels))
    return wave.astype("float32")


def write_tone(path: Path, seconds: float, rate: int = 16_000, *, seed: int = 0, channels: int = 1) -> Path:
    """`tone` in a file, whose suffix names the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, rate, seed, channels), rate)
    return path


def tune(seed: int) -> torch.Tensor:
    """Three seconds of plucked notes at 16 kHz, (samples,): twelve of a quarter of a second, drawn from two octaves."""
    notes = torch.randint(24, (12, 1), generator=torch.Generator().manual_seed(seed))
    time = torch.arange(4000) / 16_000
    return (0.3 * (2 * torch.pi * 220 * 2 ** (notes / 12) * time).sin() * (-3 * time).exp()).flatten()
