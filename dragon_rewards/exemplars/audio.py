"""The audio of a user's exemplar set, read in windows so that an hour takes no more memory than a window."""

from __future__ import annotations

from hashlib import file_digest
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError
from dragon_rewards.exemplars.item import Item
from dragon_rewards.exemplars.sources import Source
from dragon_rewards.media.audio import Window, read_windows
from dragon_rewards.media.clips import check_peak

if TYPE_CHECKING:
    from collections.abc import Iterator


def inspect(source: Source, seconds: float) -> Item:
    """Read all of a file, and describe it as an example that is cut into windows of that many seconds.

    Raises:
        AudioError: the file is missing, no audio, cut off, silent, far too loud, or not finite, so no reward can judge
            it.
    """
    digest, silences, peak, end = content_hash(source), [], 0.0, 0.0
    for window in windows(source, seconds):
        silences.append(window.silent)
        peak = max(peak, window.peak)
        end = window.start + len(window.audio) / window.rate
    check_peak(peak, str(source))
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
    """Read the audio of an example in windows of that many seconds, as `read_windows` does.

    Raises:
        AudioError: the file is missing or no audio.
    """
    with source.open() as stream:
        yield from read_windows(stream, seconds, str(source))


def sounding(item: Item) -> Iterator[Window]:
    """Read the windows of an example that are not silent, which statistics are made of.

    Raises:
        AudioError: the file is missing or no audio.
    """
    return (window for window in windows(Source.of(item), item.window) if not window.silent)


def content_hash(source: Source) -> str:
    """Return the SHA-256 of an audio file's bytes in hexadecimal digits.

    Raises:
        AudioError: the file is missing.
    """
    with source.open() as stream:
        return file_digest(stream, "sha256").hexdigest()


def fault(item: Item) -> str | None:
    """Say what is wrong with the audio of an example; return None if it is here, as it was when it was added."""
    if item.path is None:
        return "not on this machine"
    try:
        found = content_hash(Source.of(item))
    except AudioError:
        return "missing"
    return None if found == item.sha256 else "changed"
