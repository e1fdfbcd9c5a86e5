"""What `musicnn` hears of damage: the FAD of damaged music from the same music, in units of the FAD between its halves.

    python damages.py

The clips are the middle 10 s of each track of music.py. 1 is what another selection of the same styles costs; "another
style" is the FAD between the sets, as a mean over their pairs. Writes damages.csv and damages.md beside itself.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import soxr
import torch
from music import RATE, SETS, excerpt, tracks

from dragon_rewards import load_registry
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_rewards.storage.results import write_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

ENCODERS = ("musicnn", "musicnn-msd", "clap", "logmel", "chroma")
SECONDS = 10.0


def noise(ratio: float) -> Callable[[Tensor], Tensor]:
    """White noise, `ratio` decibels below the clip."""

    def damaged(clip: Tensor) -> Tensor:
        drawn = torch.randn(clip.shape, generator=torch.Generator().manual_seed(0))
        return clip + drawn * clip.square().mean().sqrt() * 10 ** (-ratio / 20)

    return damaged


def low_pass(cutoff: float) -> Callable[[Tensor], Tensor]:
    """Nothing above `cutoff` hertz."""

    def damaged(clip: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(clip) * (torch.fft.rfftfreq(len(clip), 1 / RATE) < cutoff)
        passed: Tensor = torch.fft.irfft(spectrum, len(clip))
        return passed

    return damaged


def clipping(drive: float) -> Callable[[Tensor], Tensor]:
    """Clipped where the clip goes more than -`drive` decibels below its peak."""
    return lambda clip: clip.clamp(-clip.abs().max() * 10 ** (-drive / 20), clip.abs().max() * 10 ** (-drive / 20))


def varispeed(factor: float) -> Callable[[Tensor], Tensor]:
    """Played faster and higher by a factor, as a tape is."""
    return lambda clip: torch.from_numpy(soxr.resample(clip.numpy(), RATE * factor, RATE))


DAMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "noise, 30 dB below": noise(30),
    "noise, 20 dB below": noise(20),
    "noise, 10 dB below": noise(10),
    "low-pass at 4 kHz": low_pass(4000),
    "low-pass at 2 kHz": low_pass(2000),
    "clipped 12 dB below the peak": clipping(12),
    "clipped 24 dB below the peak": clipping(24),
    "varispeed by 1% (17 cents)": varispeed(1.01),
    "varispeed by 3% (51 cents)": varispeed(1.03),
    "varispeed by 6% (a semitone)": varispeed(2 ** (1 / 12)),
    "6 dB quieter": lambda clip: clip / 2,
}


def fitted(encoder: Any, clips: list[Tensor]) -> Gaussian:
    """The Gaussian of the frames of all clips."""
    with torch.no_grad():
        return Gaussian.fit(torch.cat([encoder.encode_audio(clip[None])[0] for clip in clips]))


def distances(encoder: Any, sets: list[list[Tensor]]) -> dict[str, float]:
    """The FAD of each damage, in units of the FAD between halves."""
    clips = [clip for clips in sets for clip in clips]
    unit = float(frechet_distance(*(fitted(encoder, clips[start::2]) for start in range(2))))
    own, pairs = fitted(encoder, clips), combinations([fitted(encoder, clips) for clips in sets], 2)
    styles = [float(frechet_distance(*pair)) for pair in pairs]
    found = {"another style": sum(styles) / len(styles) / unit}
    for name, damage in DAMAGES.items():
        found[name] = float(frechet_distance(fitted(encoder, [damage(clip) for clip in clips]), own)) / unit
    return found


def main() -> None:
    """A row for each damage, a column for each encoder."""
    sets = [[excerpt(path, SECONDS) for path in tracks(name)] for name in SETS]
    registry = load_registry()
    columns = {}
    for name in ENCODERS:
        columns[name] = distances(registry.build_encoder(name), sets)
        print(name, columns[name], flush=True)
    write_table(Path(__file__).parent / "damages", pd.DataFrame(columns).rename_axis("damage"))


if __name__ == "__main__":
    main()
