"""Measure how loud a clip is and how much of it is silent, by the standards of broadcasting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dragon_rewards.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

BLOCK = 0.4  # s: the gating block of BS.1770
GATE = -70.0  # LUFS: the absolute gate of BS.1770, below which a block does not count
FRAME = 0.05  # s
SILENT = -60.0  # dBFS


def loudness(audio: Tensor, sample_rate: int) -> float:
    """Return the integrated loudness of mono audio (samples,), full scale 1, in LUFS (ITU-R BS.1770-4).

    It is the mean square after K-weighting, over the blocks of 400 ms that pass both gates: -70 LUFS, and 10 LU below
    the mean. A mono sine of 997 Hz at full scale has -3.01 LUFS; the filters of pyloudnorm come within 0.1 of it. Where
    no block passes, as in silence, the loudness is -inf. The standard has no value for less than one block: a clip
    shorter than that is one block of its own length.

    Raises:
        AudioError: the audio is not of shape (samples,), is empty, or is not finite; or the sample rate is below 1 Hz.

    >>> tone = torch.sin(torch.arange(480_000).double() * 2 * math.pi * 997 / 48_000)
    >>> round(loudness(tone, 48_000), 2)
    -3.05
    >>> loudness(torch.zeros(48_000), 48_000)
    -inf
    """
    return _metered(audio, sample_rate)[0]


def _metered(audio: Tensor, sample_rate: int) -> tuple[float, NDArray[np.float64]]:
    """Return the `loudness` of audio, and the loudness of each block without gates, in LUFS."""
    from pyloudnorm import Meter

    _check(audio, sample_rate)
    samples = audio.detach().cpu().double().numpy()
    meter = Meter(sample_rate, block_size=min(BLOCK, len(samples) / sample_rate))
    return float(meter.integrated_loudness(samples)), np.array(meter.blockwise_loudness)


def gain_to(target: float, audio: Tensor, sample_rate: int) -> float:
    """Return the factor that brings audio (samples,) to a loudness of `target` LUFS; the result may clip.

        gain = 10^((target - loudness) / 20)

    Raises:
        AudioError: the audio cannot be measured (see `loudness`), or it is silent.

    >>> tone = torch.sin(torch.arange(48_000) * 2 * math.pi * 997 / 48_000)
    >>> round(loudness(gain_to(-23.0, tone, 48_000) * tone, 48_000), 2)
    -23.0
    """
    level = loudness(audio, sample_rate)
    if level == -math.inf:
        raise AudioError(f"a clip below {GATE:g} LUFS cannot be brought to {target:g} LUFS; leave it out")
    return float(10 ** ((target - level) / 20))


def silence(audio: Tensor, sample_rate: int) -> float:
    """Return the share, 0 to 1, of frames of 50 ms of audio (samples,) whose root mean square is below -60 dBFS.

    Full scale is 1. A shorter last frame counts as one frame.

    Raises:
        AudioError: the audio is not of shape (samples,), is empty, or is not finite; or the sample rate is below 1 Hz.

    >>> silence(torch.cat([torch.ones(8_000), torch.zeros(8_000)]), 16_000)
    0.5
    """
    _check(audio, sample_rate)
    frames = audio.detach().double().split(max(1, round(FRAME * sample_rate)))
    power = torch.stack([frame.square().mean() for frame in frames])
    return float((power < 10 ** (SILENT / 10)).double().mean())


@dataclass(frozen=True)
class Measured:
    """The length, loudness and silence of a clip, or of a window of it.

    Attributes:
        duration: the length in seconds.
        loudness: the integrated loudness in LUFS; -inf in silence.
        silence: the share of silent frames, 0 to 1.
        blocks: the loudness of each gating block in LUFS, (blocks,).
    """

    duration: float
    loudness: float
    silence: float
    blocks: NDArray[np.float64]


def measured(audio: Tensor, sample_rate: int) -> Measured:
    """Measure the length, loudness and silence of mono audio (samples,).

    Raises:
        AudioError: the audio cannot be measured (see `loudness`).
    """
    level, blocks = _metered(audio, sample_rate)
    return Measured(len(audio) / sample_rate, level, silence(audio, sample_rate), blocks)


def confounders(parts: Sequence[Measured]) -> dict[str, float]:
    """Return what a reward may follow instead of its question: the duration, loudness and silence of a clip.

    `duration` is in seconds; `loudness` is integrated, in LUFS, and -70 for a clip below that gate; `silence` is a
    share. Where a clip was measured in several parts, their blocks are gated together; blocks across two parts are
    missing.

    Args:
        parts: measurements of one clip, whole or window by window.
    """
    duration = sum(part.duration for part in parts)
    level = parts[0].loudness if len(parts) == 1 else _gated(np.concatenate([part.blocks for part in parts]))
    quiet = sum(part.silence * part.duration for part in parts) / duration if len(parts) > 1 else parts[0].silence
    return {"duration": duration, "loudness": max(level, GATE), "silence": quiet}


def _gated(blocks: NDArray[np.float64]) -> float:
    """Return the integrated loudness in LUFS of blocks: the mean power of those blocks that pass both gates."""
    powers = 10 ** (blocks[blocks >= GATE] / 10)
    if not powers.size:
        return -math.inf
    return float(10 * np.log10(powers[powers > powers.mean() / 10].mean()))


def _check(audio: Tensor, sample_rate: int) -> None:
    if audio.ndim != 1 or not audio.numel():
        raise AudioError(f"loudness is measured of mono audio (samples,), not of {tuple(audio.shape)}; mix it to mono")
    if not audio.isfinite().all():
        raise AudioError("loudness is measured of finite samples; make the clip again")
    if sample_rate < 1:
        raise AudioError(f"a sample rate is a positive number of Hz, not {sample_rate}")
