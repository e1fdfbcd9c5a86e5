"""The audio of a user's exemplar set: read in windows, so that an hour takes no more memory than a window does."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import file_digest
from typing import TYPE_CHECKING

import soundfile
import torch

from dragon_rewards.audio import SILENCE, to_mono
from dragon_rewards.errors import AudioError
from dragon_rewards.exemplars.item import Item
from dragon_rewards.exemplars.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

REMAINDER = 1.0  # seconds: a shorter rest behind the last whole window is left out


@dataclass(frozen=True)
class Window:
    """Mono audio (samples,) at `rate` Hz; `start` is its place in the file, in seconds."""

    audio: Tensor
    rate: int
    start: float

    @property
    def silent(self) -> bool:
        """Whether nothing is heard in it."""
        return float(self.audio.abs().max()) < SILENCE


def inspect(source: Source, seconds: float) -> Item:
    """Read all of a file, and describe it as an example that is cut into windows of that many seconds.

    Raises:
        AudioError: it is missing, no audio, empty, silent from end to end, or holds values that are not finite.
    """
    digest, silences, end = content_hash(source), [], 0.0
    for window in windows(source, seconds):
        if not window.audio.isfinite().all():
            raise AudioError(f"'{source}' holds values that are not finite")
        silences.append(window.silent)
        end = window.start + len(window.audio) / window.rate
    if all(silences):
        raise AudioError(f"'{source}' is silent" if silences else f"'{source}' holds no samples")
    return Item(
        sha256=digest,
        caption=source.caption,
        path=str(source.path),
        row=source.row,
        seconds=end,
        window=seconds,
        windows=silences.count(False),
        silent=silences.count(True),
    )


def windows(source: Source, seconds: float) -> Iterator[Window]:
    """The windows of a file in order, silent ones included; a rest below 1 s counts only if it is all there is.

    Raises:
        AudioError: the file is missing or no audio.
    """
    try:
        with source.open() as stream, soundfile.SoundFile(stream) as sound:
            rate, position = int(sound.samplerate), 0
            while len(block := sound.read(max(1, round(seconds * rate)), dtype="float32", always_2d=True)):
                if position and len(block) < REMAINDER * rate:
                    return
                yield Window(to_mono(torch.from_numpy(block.T.copy())), rate, position / rate)
                position += len(block)
    except soundfile.SoundFileError as error:
        raise AudioError(f"'{source}' cannot be read as audio ({error})") from error


def sounding(item: Item) -> Iterator[Window]:
    """The windows of an example that statistics are made of.

    Raises:
        AudioError: the file is missing or no audio.
    """
    return (window for window in windows(Source.of(item), item.window) if not window.silent)


def content_hash(source: Source) -> str:
    """SHA-256 of an audio file's bytes.

    Raises:
        AudioError: it is missing.
    """
    with source.open() as stream:
        return file_digest(stream, "sha256").hexdigest()


def fault(item: Item) -> str | None:
    """What is wrong with the audio of an example; None if it is there, as it was when it was added."""
    if item.path is None:
        return "not on this machine"
    try:
        found = content_hash(Source.of(item))
    except AudioError:
        return "missing"
    return None if found == item.sha256 else "changed"
