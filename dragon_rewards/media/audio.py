"""Read and write audio files: whole, mixed to mono, or window by window."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from dragon_rewards.errors import AudioError
from dragon_rewards.media.clips import UNHEARD, check_peak, peak_of, to_mono
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
    audio, rate = _decoded(path, str(path))
    return audio.contiguous(), rate


def read_mono(file: Path | BinaryIO, name: str | None = None) -> tuple[Tensor, int]:
    """Read a file, mix it to mono (samples,) as rewards judge it, and return it with its sample rate in Hz.

    Args:
        file: a path, or the bytes of a file.
        name: the name of the file in error messages; by default its path.

    Raises:
        AudioError: the file cannot be read (see `read_audio`), or no reward can judge it (see `check_peak`).
    """
    name = str(file) if name is None else name
    audio, rate = _decoded(file, name)
    mono = to_mono(audio)
    check_peak(peak_of(mono), name)
    return mono, rate


def _decoded(file: Path | BinaryIO, name: str) -> tuple[Tensor, int]:
    # In one call, as decoders of MP3 give other last bits block by block, by which embeddings would be sought in vain.
    with opened(file, name) as sound:
        at_once = sound.frames * sound.channels < MOST
        samples = sound.read(**FORM) if at_once else np.concatenate(list(_blocks(sound, BLOCK)))
        _check_end(sound, len(samples), name)
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
