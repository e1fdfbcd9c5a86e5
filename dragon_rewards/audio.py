"""Audio files in and out, mono, resampling, and the refusal of clips that no reward can judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import soundfile
import soxr
import torch
from torch import Tensor

from dragon_rewards.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})
SILENCE = 1e-5


def read_audio(path: Path) -> tuple[Tensor, int]:
    """Read a file as float32 audio (channels, samples) in [-1, 1] and its sample rate in Hz.

    Raises:
        AudioError: the file is missing, is not audio, or holds no samples.
    """
    if not path.is_file():
        raise AudioError(f"'{path}' is not a file; check the path")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"'{path}' cannot be read as audio ({error}); give WAV, FLAC, OGG or MP3") from error
    if not len(samples):
        raise AudioError(f"'{path}' holds no samples; remove it or record it again")
    return torch.from_numpy(samples.T.copy()), int(rate)


def write_audio(path: Path, audio: Tensor, rate: int) -> None:
    """Write audio (samples,) or (channels, samples) in [-1, 1]; the suffix names the format (WAV: 16 bits)."""
    soundfile.write(path, audio.detach().cpu().numpy().T, rate)


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

    soxr in its high quality setting, all clips in one call; equal rates return the audio itself.

    Raises:
        AudioError: the audio requires gradients, which soxr does not carry.

    >>> resample(torch.zeros(3, 441), 44_100, 16_000).shape
    torch.Size([3, 160])
    """
    if source == target:
        return audio
    if audio.requires_grad:
        raise AudioError(f"no gradient passes from {target} Hz to {source} Hz; generate at {target} Hz")
    columns = audio.reshape(-1, audio.shape[-1]).T.cpu().numpy()
    resampled = torch.from_numpy(soxr.resample(columns, source, target).T.copy())
    return resampled.reshape(*audio.shape[:-1], -1).to(audio.device)


def check_clip(audio: Tensor, name: str) -> None:
    """Refuse a clip, of any shape, that no reward can judge.

    Raises:
        AudioError: it is empty, holds NaN or infinity, or is silent (no sample reaches 1e-5).
    """
    if not audio.numel():
        raise AudioError(f"'{name}' holds no samples; remove it or record it again")
    peak = float(audio.detach().abs().max())
    if not peak < float("inf"):
        raise AudioError(f"'{name}' holds values that are not finite; generate or export it again")
    if peak < SILENCE:
        raise AudioError(f"'{name}' is silent (peak {peak:.1e}); remove it")
