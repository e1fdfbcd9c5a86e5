"""Audio files in and out, mono, resampling, and the refusal of clips that no reward can judge."""

from __future__ import annotations

import io
from contextlib import contextmanager
from functools import cache
from math import ceil, gcd
from typing import TYPE_CHECKING

import soundfile
import soxr
import torch
from torch import Tensor

from dragon_rewards.devices import has_float64
from dragon_rewards.errors import AudioError
from dragon_rewards.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
SILENCE = 1e-5
PASSBAND, STOPBAND = 0.913, 120.0  # of the lower Nyquist frequency, and in dB: soxr's high quality


def read_audio(path: Path) -> tuple[Tensor, int]:
    """Read a file as float32 audio (channels, samples) in [-1, 1] and its sample rate in Hz.

    Raises:
        AudioError: the file is missing, is not audio, or holds no samples.
    """
    audio, rate = _decoded(path)
    return audio.contiguous(), rate


def read_mono(path: Path) -> tuple[Tensor, int]:
    """`to_mono` of what `read_audio` reads, (samples,), and its rate in Hz, with a copy less; raises the same."""
    audio, rate = _decoded(path)
    return to_mono(audio), rate


def _decoded(path: Path) -> tuple[Tensor, int]:
    # In one call, as decoders of MP3 give other last bits block by block, by which embeddings would be sought in vain.
    with _opened(path) as sound:
        samples, rate = sound.read(dtype="float32", always_2d=True), int(sound.samplerate)
    if not len(samples):
        raise AudioError(f"'{path}' holds no samples; remove it or record it again")
    return torch.from_numpy(samples.T), rate


def seconds_of(path: Path) -> float:
    """The length of a file by its header; raises as `read_audio` does, but for what only decoding tells."""
    with _opened(path) as sound:
        return float(sound.frames / sound.samplerate)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    if not path.is_file():
        raise AudioError(f"'{path}' is not a file; check the path")
    try:
        with soundfile.SoundFile(path) as sound:
            yield sound
    except soundfile.SoundFileError as error:
        raise AudioError(f"'{path}' cannot be read as audio ({error}); give WAV, FLAC, OGG or MP3") from error


def write_audio(path: Path, audio: Tensor, rate: int) -> None:
    """Write audio (samples,) or (channels, samples) in [-1, 1]; the suffix names the format (WAV: 16 bits).

    The file appears whole or not at all.
    """
    file = io.BytesIO()
    soundfile.write(file, audio.detach().cpu().numpy().T, rate, format=path.suffix[1:].upper())
    write_bytes(path, file.getvalue())


def find_audio(paths: Iterable[Path]) -> list[Path]:
    """Files as given, folders as all audio below them in sorted order; what is named twice counts once.

    Raises:
        AudioError: a path does not exist, or a folder holds no audio.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_of(path)))


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise AudioError(f"'{path}' does not exist; check the path")
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise AudioError(f"the folder '{path}' holds no audio; give one with {', '.join(sorted(SUFFIXES))} files")
    return found


def to_mono(audio: Tensor) -> Tensor:
    """(..., channels, samples) -> (..., samples): the mean of the channels.

    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    tensor([0.5000, 0.2500])
    """
    return audio.mean(-2)


def resample(audio: Tensor, source: int, target: int) -> Tensor:
    """(..., samples) at `source` Hz -> (..., samples * target / source) at `target` Hz, on the device it came from.

    soxr in its high quality setting, all clips in one call; equal rates return the audio itself. soxr computes on the
    CPU and carries no gradients: audio elsewhere, or that requires them, is resampled by a windowed sinc in torch. For
    signals below 0.9 of the lower Nyquist frequency it is exact to 1e-6 of the peak, and soxr to 3e-4, but for 50 ms at
    both ends.

    Raises:
        AudioError: a rate is not positive, as that of an encoder that hears no audio.

    >>> resample(torch.zeros(3, 441), 44_100, 16_000).shape
    torch.Size([3, 160])
    """
    if min(source, target) <= 0:
        raise AudioError(f"audio at {source} Hz cannot be resampled to {target} Hz; name an encoder that hears audio")
    if source == target:
        return audio
    columns = audio.reshape(-1, audio.shape[-1])
    if audio.requires_grad or audio.device.type != "cpu":
        return _sinc_resample(columns, source, target).reshape(*audio.shape[:-1], -1)
    resampled = torch.from_numpy(soxr.resample(columns.T.numpy(), source, target).T.copy())
    return resampled.reshape(*audio.shape[:-1], -1)


def _sinc_resample(audio: Tensor, source: int, target: int) -> Tensor:
    """(clips, samples) at `source` Hz -> as `resample`, by one strided convolution that gives all phases."""
    up, down = target // gcd(source, target), source // gcd(source, target)
    exact = audio.to(torch.float64 if _is_rounded(audio.device) else audio.dtype)
    bank, reach = _phases(up, down, audio.device, exact.dtype)
    samples = int(audio.shape[-1] / (source / target) + 0.5)  # as soxr rounds, whose ties are those of floats
    padding = max(0, ceil(samples / up) - 1) * down + bank.shape[-1] - reach - audio.shape[-1]
    padded = torch.nn.functional.pad(exact, (reach, padding))[:, None]
    phases = torch.nn.functional.conv1d(padded, bank, stride=down)
    return phases.transpose(1, 2).flatten(1)[:, :samples].to(audio.dtype)


def _is_rounded(device: torch.device) -> bool:
    """Whether convolutions in float32 there may keep 10 bits of a factor (TF32), which float64 has a way around."""
    return device.type != "cpu" and has_float64(device)


@cache
def _phases(up: int, down: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, int]:
    """A Kaiser-windowed sinc as a filter per phase, (up, 1, taps), and the input samples that it looks back.

    Output sample q * up + p lies at input sample q * down + p * down / up: phase p weighs input sample q * down + k by
    the low-pass at p * down - k * up, in samples at `up` times the input's rate.
    """
    from scipy.signal import firwin, kaiserord

    nyquist = 1 / max(up, down)  # the lower one, as a share of that at the high rate
    count, beta = kaiserord(STOPBAND, (1 - PASSBAND) * nyquist)
    half = count // 2
    lowpass = up * firwin(2 * half + 1, (1 + PASSBAND) / 2 * nyquist, window=("kaiser", beta))
    reach = ceil(half / up)
    inputs = torch.arange(-reach, down + reach)
    taps = half + torch.arange(up)[:, None] * down - inputs * up
    inside = (taps >= 0) & (taps <= 2 * half)
    bank = torch.where(inside, torch.from_numpy(lowpass)[taps.clamp(0, 2 * half)], 0.0)[:, None]
    return bank.to(device, dtype), reach


def check_peak(peak: float, name: str) -> None:
    """Refuse a clip that no reward can judge, by its largest absolute sample.

    Raises:
        AudioError: it is NaN or infinite, or the clip is silent (no sample reaches 1e-5).
    """
    if not peak < float("inf"):
        raise AudioError(f"'{name}' holds values that are not finite; generate or export it again")
    if peak < SILENCE:
        raise AudioError(f"'{name}' is silent (peak {peak:.1e}); remove it")
