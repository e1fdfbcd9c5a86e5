"""The clips of a pair as raters hear them: alike in form, matched in loudness."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import soundfile

from dragon_rewards.errors import AudioError
from dragon_rewards.media.audio import read_audio
from dragon_rewards.media.clips import check_peak, resample
from dragon_rewards.media.loudness import loudness

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

MEDIA_TYPE = "audio/flac"


class Measured(NamedTuple):
    """What is known of a clip before it is played.

    Attributes:
        gain: the factor that matches its loudness to the other clip of its pair.
        seconds: how long it lasts.
    """

    gain: float
    seconds: float


def read_pair(a: Path, b: Path) -> tuple[Tensor, Tensor, int]:
    """Read two clips (channels, samples) in one form: the channels of the wider one, the rate in Hz of the higher one.

    So nothing but the sound tells which is which.

    Returns:
        Both clips and their common rate.

    Raises:
        AudioError: a clip cannot be read or is silent, or both have several channels but not equally many.
    """
    (left, left_rate), (right, right_rate) = read_audio(a), read_audio(b)
    for audio, path in ((left, a), (right, b)):
        check_peak(float(audio.abs().max()), str(path))
    if len(left) != len(right) and min(len(left), len(right)) > 1:
        raise AudioError(f"'{a}' has {len(left)} channels and '{b}' {len(right)}; export both with as many")
    channels, rate = max(len(left), len(right)), max(left_rate, right_rate)
    return _alike(left, left_rate, channels, rate), _alike(right, right_rate, channels, rate), rate


def _alike(audio: Tensor, source: int, channels: int, rate: int) -> Tensor:
    return resample(audio, source, rate).expand(channels, -1)


def level(audio: Tensor, rate: int) -> float:
    """Return the loudness of a clip (channels, samples) at `rate` Hz, in LUFS.

    Channels add up as powers (ITU-R BS.1770-4, weights of 1):

        level = 10 log10(sum_c 10^(loudness_c / 10))

    The standard gates the sum of the channels; here each is gated by itself, which differs only where channels are
    silent at different times.
    """
    power = sum(10 ** (loudness(channel, rate) / 10) for channel in audio)
    return 10 * math.log10(power) if power else -math.inf


def measure(a: Path, b: Path) -> tuple[Measured, Measured]:
    """Measure the loudness and length of the two files of a pair, and how each is to be played.

    The factors bring both to the loudness of the quieter; both are lowered further where one would clip.

    Raises:
        AudioError: the files do not make a pair (see `read_pair`), or a clip is too quiet to have a loudness.
    """
    left, right, rate = read_pair(a, b)
    levels = level(left, rate), level(right, rate)
    for path, found in zip((a, b), levels, strict=True):
        if found == -math.inf:
            raise AudioError(f"'{path}' is too quiet to have a loudness (below -70 LUFS); leave it out")
    gains = [10 ** ((min(levels) - found) / 20) for found in levels]
    peak = max(gain * float(clip.abs().max()) for gain, clip in zip(gains, (left, right), strict=True))
    first, second = (
        Measured(gain / max(1.0, peak), clip.shape[-1] / rate) for gain, clip in zip(gains, (left, right), strict=True)
    )
    return first, second


def encode(audio: Tensor, rate: int, gain: float) -> bytes:
    """Return a clip (channels, samples) times `gain` as FLAC of 16 bits, which every browser decodes, without tags."""
    file = io.BytesIO()
    soundfile.write(file, (audio * gain).numpy().T, rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
