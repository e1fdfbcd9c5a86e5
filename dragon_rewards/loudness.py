"""How loud a clip is and how much of it is silent, by the standards of broadcasting."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 0.4  # s: the gating block of BS.1770
GATE = -70.0  # LUFS: the absolute gate of BS.1770, below which a block does not count
FRAME = 0.05  # s
SILENT = -60.0  # dBFS


def loudness(audio: Tensor, sample_rate: int) -> float:
    """Integrated loudness in LUFS of mono audio (samples,), full scale 1 (ITU-R BS.1770-4).

    Mean square after K-weighting over blocks of 400 ms that pass the gates, at -70 LUFS and 10 LU below the mean; a
    mono sine of 997 Hz at full scale has -3.01 LUFS, and the filters of pyloudnorm come within 0.1 of it. Where no
    block passes, as in silence, it is -inf. The standard has no value for less than one block: such a clip is one block
    of its own length.

    Raises:
        AudioError: audio of another shape, empty, or not finite; a sample rate below 1 Hz.

    >>> tone = torch.sin(torch.arange(480_000).double() * 2 * math.pi * 997 / 48_000)
    >>> round(loudness(tone, 48_000), 2)
    -3.05
    >>> loudness(torch.zeros(48_000), 48_000)
    -inf
    """
    from pyloudnorm import Meter

    _check(audio, sample_rate)
    samples = audio.detach().cpu().double().numpy()
    block = min(BLOCK, len(samples) / sample_rate)
    return float(Meter(sample_rate, block_size=block).integrated_loudness(samples))


def gain_to(target: float, audio: Tensor, sample_rate: int) -> float:
    """The factor that brings audio (samples,) to `target` LUFS; it may clip, so leave headroom.

    Raises:
        AudioError: as `loudness`, or the audio is silent.

    >>> tone = torch.sin(torch.arange(48_000) * 2 * math.pi * 997 / 48_000)
    >>> round(loudness(gain_to(-23.0, tone, 48_000) * tone, 48_000), 2)
    -23.0
    """
    level = loudness(audio, sample_rate)
    if level == -math.inf:
        raise AudioError(f"a clip below {GATE:g} LUFS cannot be brought to {target:g} LUFS; leave it out")
    return float(10 ** ((target - level) / 20))


def silence(audio: Tensor, sample_rate: int) -> float:
    """The share, 0 to 1, of frames of 50 ms of audio (samples,) whose root mean square is below -60 dBFS.

    Full scale is 1. A shorter last frame counts as one.

    Raises:
        AudioError: as `loudness`.

    >>> silence(torch.cat([torch.ones(8_000), torch.zeros(8_000)]), 16_000)
    0.5
    """
    _check(audio, sample_rate)
    frames = audio.detach().double().split(max(1, round(FRAME * sample_rate)))
    power = torch.stack([frame.square().mean() for frame in frames])
    return float((power < 10 ** (SILENT / 10)).double().mean())


def confounders(audio: Tensor, sample_rate: int) -> dict[str, float]:
    """What a reward may follow instead of its question, of mono audio (samples,).

    Duration in seconds, integrated loudness in LUFS (a clip below the gate of -70 LUFS has -70), share of silence.

    Raises:
        AudioError: as `loudness`.
    """
    level = max(loudness(audio, sample_rate), GATE)
    return {"duration": len(audio) / sample_rate, "loudness": level, "silence": silence(audio, sample_rate)}


def _check(audio: Tensor, sample_rate: int) -> None:
    if audio.ndim != 1 or not audio.numel():
        raise AudioError(f"loudness is measured of mono audio (samples,), not of {tuple(audio.shape)}; mix it to mono")
    if not audio.isfinite().all():
        raise AudioError("loudness is measured of finite samples; make the clip again")
    if sample_rate < 1:
        raise AudioError(f"a sample rate is a positive number of Hz, not {sample_rate}")
