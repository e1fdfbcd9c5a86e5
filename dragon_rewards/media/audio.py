"""Read and write audio files, mix them to mono, resample them, and refuse clips that no reward can judge."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import ceil, gcd, inf, isnan
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from dragon_rewards.compute.devices import has_float64
from dragon_rewards.errors import AudioError
from dragon_rewards.media.discovery import UNDECODED, USUAL
from dragon_rewards.media.truncation import shortfall
from dragon_rewards.storage.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

REMAINDER = 1.0  # seconds: a shorter rest behind the last whole window is left out
MOST = 2**28  # values to make room for because a header says so
ENDLESS = 2**60  # samples, as which libsndfile counts FLAC from a pipe, and then fails at the end
BLOCK = 2**20  # samples
FORM: dict[str, Any] = {"dtype": "float32", "always_2d": True}
WHOLE = "get or export the whole file again"
SILENCE, LOUDEST = 1e-4, 8.0  # peaks of a recording, full scale 1: below, nothing is heard; above, it is not in [-1, 1]
UNHEARD = 1e-5  # peak of a window, or of a clip that was generated, in which there is nothing
PASSBAND, STOPBAND = 0.913, 120.0  # of the lower Nyquist frequency, and in dB: soxr's high quality


@dataclass(frozen=True)
class Window:
    """A window of a longer file.

    Attributes:
        audio: mono, (samples,), full scale 1.
        rate: the sample rate in Hz.
        start: the place of the window in the file, in seconds.
    """

    audio: Tensor
    rate: int
    start: float

    @property
    def peak(self) -> float:
        """The largest absolute sample of the window, as `peak_of` returns it."""
        return peak_of(self.audio)

    @property
    def silent(self) -> bool:
        """Whether nothing can be heard in the window: its peak is below 1e-5."""
        return self.peak < UNHEARD


def read_audio(path: Path) -> tuple[Tensor, int]:
    """Read a file as float32 audio (channels, samples) in [-1, 1], and return it with its sample rate in Hz.

    Raises:
        AudioError: the file is missing, is not audio, holds no samples, or ends before it should.
    """
    audio, rate = _decoded(path)
    return audio.contiguous(), rate


def read_mono(path: Path) -> tuple[Tensor, int]:
    """Read a file, mix it to mono (samples,) as rewards judge it, and return it with its sample rate in Hz.

    Raises:
        AudioError: the file cannot be read (see `read_audio`), or no reward can judge it (see `check_peak`).
    """
    audio, rate = _decoded(path)
    mono = to_mono(audio)
    check_peak(peak_of(mono), str(path))
    return mono, rate


def _decoded(path: Path) -> tuple[Tensor, int]:
    # In one call, as decoders of MP3 give other last bits block by block, by which embeddings would be sought in vain.
    with opened(path) as sound:
        at_once = sound.frames * sound.channels < MOST
        samples = sound.read(**FORM) if at_once else np.concatenate(list(_blocks(sound, BLOCK)))
        _check_end(sound, len(samples), str(path))
        return torch.from_numpy(samples.T), int(sound.samplerate)


def _blocks(sound: soundfile.SoundFile, frames: int) -> Iterator[NDArray[np.float32]]:
    """Yield what is left of a file, (samples, channels), in blocks, and then an empty one."""
    yield (block := sound.read(frames, **FORM))
    while len(block):
        yield (block := sound.read(frames, **FORM))


def read_windows(file: Path | BinaryIO, seconds: float, name: str) -> Iterator[Window]:
    """Yield the windows of a file in order, silent ones included.

    A rest shorter than 1 s counts only if it is all there is. Each window is decoded and mixed to mono by itself, so
    that a file of hours takes no more memory than a window does.

    Args:
        file: a path, or the bytes of a file.
        seconds: the length of a window.
        name: the name of the file in error messages.

    Raises:
        AudioError: the file cannot be read (see `read_audio`); raised where the fault is met.
    """
    with opened(file, name) as sound:
        rate, position = int(sound.samplerate), 0
        for block in _blocks(sound, max(1, round(seconds * rate))):
            if len(block) >= REMAINDER * rate or (len(block) and not position):
                yield Window(to_mono(torch.from_numpy(block.T)), rate, position / rate)
            position += len(block)
        _check_end(sound, position, name)


def seconds_of(path: Path) -> float:
    """Return the length of a file in seconds, by its header.

    Raises:
        AudioError: the file is missing, is not audio, or declares more than it has; what only decoding tells stays
            unseen.
    """
    with opened(path) as sound:
        return float(sound.frames / sound.samplerate)


@contextmanager
def opened(file: Path | BinaryIO, name: str | None = None) -> Iterator[soundfile.SoundFile]:
    """Open an audio file to read from it, and check that it ends where its header says.

    Args:
        file: a path, or the bytes of a file.
        name: the name of the file in error messages; by default its path.

    Raises:
        AudioError: the file is missing, is not audio, is cut off, or cannot be decoded where it is read.
    """
    name = str(file) if name is None else name
    if isinstance(file, Path) and not file.is_file():
        raise AudioError(f"'{name}' is not a file; check the path")
    try:
        with soundfile.SoundFile(_handle(file)) as sound:
            _check_whole(sound, file, name)
            yield sound
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioError(f"'{name}' cannot be read as audio ({reason}); {_remedy(name)}") from error
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: RAW says nothing of what it holds
        raise AudioError(f"'{name}' cannot be read as audio ({error}); {_remedy(name)}") from error


def _handle(file: Path | BinaryIO) -> str | bytes | BinaryIO:
    """Return what soundfile opens: a path as bytes where names of files are bytes, which need not be UTF-8."""
    if not isinstance(file, Path):
        return file
    return str(file) if os.name == "nt" else os.fsencode(file)


def _remedy(name: str) -> str:
    suffix = PurePath(name).suffix.lower()
    if suffix in UNDECODED:
        return f"{suffix[1:].upper()} is not decoded here: convert it to FLAC, as in ffmpeg -i x{suffix} x.flac"
    return f"give {USUAL}"


def _check_whole(sound: soundfile.SoundFile, file: Path | BinaryIO, name: str) -> None:
    if sound.frames >= ENDLESS:
        raise AudioError(
            f"'{name}' does not say how long it is; write it to a file again, as in ffmpeg -i x.flac y.flac"
        )
    if isinstance(file, Path):
        with file.open("rb") as content:
            missing = shortfall(sound, content)
    else:
        position = file.tell()  # libsndfile reads on from here
        missing = shortfall(sound, file)
        file.seek(position)
    if missing:
        raise AudioError(f"'{name}' is cut off: {missing}; {WHOLE}")


def _check_end(sound: soundfile.SoundFile, frames: int, name: str) -> None:
    """Refuse a file of which no samples were read, or fewer than its header declares."""
    if not frames:
        raise AudioError(f"'{name}' holds no samples; remove it or record it again")
    if frames < sound.frames:
        seconds, declared = frames / sound.samplerate, sound.frames / sound.samplerate
        raise AudioError(f"'{name}' is cut off: it declares {declared:.3f} s and has {seconds:.3f}; {WHOLE}")


def write_audio(path: Path, audio: Tensor, rate: int) -> None:
    """Write audio (samples,) or (channels, samples) in [-1, 1] to a file, which appears whole or not at all.

    Args:
        path: where to write; the suffix names the format (WAV: 16 bits).
        audio: the samples, on any device.
        rate: the sample rate in Hz.
    """
    file, kind, samples = io.BytesIO(), path.suffix[1:].upper(), np.atleast_2d(audio.detach().cpu().numpy()).T
    with soundfile.SoundFile(file, "w", rate, samples.shape[1], format=kind) as sound:
        for start in range(0, len(samples), BLOCK):  # of OGG, libsndfile does not survive a minute in one call
            sound.write(samples[start : start + BLOCK])
    write_bytes(path, file.getvalue())


def to_mono(audio: Tensor) -> Tensor:
    """Mix audio (..., channels, samples) to mono (..., samples): return the mean of the channels.

    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    tensor([0.5000, 0.2500])
    """
    return audio.mean(-2)


def resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Resample audio (..., samples) from `source` Hz to `target` Hz: return (..., samples * target / source).

    The result is on the device of the audio. Equal rates return the audio itself. soxr resamples all clips in one call,
    in its high quality setting. It computes on the CPU and carries no gradients, so audio on another device, or audio
    that requires gradients, is resampled by a windowed sinc in torch. For signals below 0.9 of the lower Nyquist
    frequency, and except for 50 ms at both ends, the sinc is exact to 1e-6 of the peak and soxr to 3e-4.

    Raises:
        AudioError: a rate is not positive; an encoder that hears no audio has the rate 0.

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
    resampled = torch.from_numpy(soxr.resample(_frames(columns), source, target).T.copy())
    return resampled.reshape(*audio.shape[:-1], -1)


def _frames(clips: Tensor) -> NDArray[Any]:
    """Return clips (clips, samples) as the frames (samples, clips) that soxr takes, without a copy where it can."""
    frames = clips.T.numpy()
    # numpy 1.26 exports a single row as C-contiguous whatever its strides are, by which soxr takes it for a column per
    # clip, and refuses it ("Data not contiguous"). np.ascontiguousarray leaves such a row alone; a copy has C strides.
    return frames if len(frames) > 1 else frames.copy()


def _sinc_resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Resample audio (clips, samples) as `resample` does, by one strided convolution that gives all phases."""
    up, down = target // gcd(source, target), source // gcd(source, target)
    exact = audio.to(torch.float64 if _is_rounded(audio.device) else audio.dtype)
    bank, reach = _phases(up, down, audio.device, exact.dtype)
    samples = int(audio.shape[-1] / (source / target) + 0.5)  # as soxr rounds, ties included: in floats
    padding = max(0, ceil(samples / up) - 1) * down + bank.shape[-1] - reach - audio.shape[-1]
    padded = torch.nn.functional.pad(exact, (reach, padding))[:, None]
    phases = torch.nn.functional.conv1d(padded, bank, stride=down)
    return phases.transpose(1, 2).flatten(1)[:, :samples].to(audio.dtype)


def _is_rounded(device: torch.device) -> bool:
    """Return whether float32 convolutions there may keep 10 bits of a factor (TF32), and float64 avoids that."""
    return device.type != "cpu" and has_float64(device)


@cache
def _phases(up: int, down: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return a Kaiser-windowed sinc as a filter per phase, (up, 1, taps), and the input samples that it looks back.

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


def peak_of(audio: Tensor) -> float:
    """Return the largest absolute sample of audio; infinity where a sample is NaN."""
    lowest, highest = torch.aminmax(audio)
    peak = max(-float(lowest), float(highest))
    return inf if isnan(float(lowest)) or isnan(peak) else peak


def check_peak(peak: float, name: str) -> None:
    """Refuse a recording that no reward can judge, by its largest absolute sample.

    Args:
        peak: the largest absolute sample, full scale 1, as `peak_of` returns it.
        name: the name of the recording in error messages.

    Raises:
        AudioError: the peak is NaN or infinite; it is below 1e-4, so that the recording is silent; or it is above 8,
            far outside of [-1, 1].
    """
    check_values(peak, name, SILENCE)
    if peak > LOUDEST:
        raise AudioError(
            f"'{name}' has a peak of {peak:.5g}, and full scale is 1; if these are 16-bit samples as floats, divide "
            "them by 32768 and write the file again"
        )


def check_values(peak: float, name: str, silence: float) -> None:
    """Refuse audio in which there is nothing to judge, by its largest absolute sample.

    Args:
        peak: the largest absolute sample, full scale 1, as `peak_of` returns it.
        name: the name of the audio in error messages.
        silence: the peak below which audio is silent.

    Raises:
        AudioError: the peak is NaN or infinite, or below `silence`.
    """
    if not peak < inf:
        raise AudioError(f"'{name}' holds values that are not finite; generate or export it again")
    if peak < silence:
        raise AudioError(f"'{name}' is silent (peak {peak:.1e}); remove it")
