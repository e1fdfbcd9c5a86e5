"""Audio files as encoders hear them: read ahead in threads, moved to a device, and encoded there, the shortest first.

Memory holds the files that are read ahead and a batch; of the others, embeddings alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING

import torch

from dragon_rewards.audio import read_mono, resample, seconds_of
from dragon_rewards.batches import first_batch
from dragon_rewards.clips import Clips
from dragon_rewards.devices import is_out_of_memory
from dragon_rewards.errors import DeviceError
from dragon_rewards.media import Media
from dragon_rewards.reading import ahead, reading_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.cache import EmbeddingCache
    from dragon_rewards.rewards import Reward

ROOM = 2**26  # samples that are read ahead, 256 MB, if so many are not a file for each thread


@dataclass(frozen=True)
class Files:
    """Audio files, with a prompt for each if they have some."""

    paths: Sequence[Path]
    prompts: Sequence[str] | None = None


@torch.no_grad()
def hear(
    rewards: Sequence[Reward],
    files: Files,
    device: torch.device,
    cache: EmbeddingCache | None,
    on_progress: Callable[[int], None],
    on_audio: Callable[[Sequence[int], Sequence[Tensor]], None] = lambda _rows, _audio: None,
) -> Media:
    """The embeddings that rewards of one sample rate judge, in the order of the files.

    Args:
        rewards: one or more.
        files: what is heard.
        device: where the clips are encoded.
        cache: where embeddings are kept for the next time.
        on_progress: is told of each further step; a file takes one, and one for each reward.
        on_audio: is shown the rows and the mono audio of all clips, some at a time, on the CPU.

    Raises:
        AudioError: a file is missing or not audio, which is told before anything is encoded; or no reward can judge it.
        DeviceError: a clip is too large for the memory of the device.
        DragonError: an encoder failed. What was encoded by then is in the cache.
    """
    rate, parts, order = rewards[0].encoder.sample_rate, list[Media](), list[int]()
    with _heard(files.paths, rate) as heard:
        for rows, audio in _alike(heard, device):
            on_progress(len(rows))
            names = [str(files.paths[row]) for row in rows]
            prompts = None if files.prompts is None else [files.prompts[row] for row in rows]
            clips = clips_on(device, audio, rate, names, prompts, cache)
            on_audio(rows, audio)
            for reward in rewards:
                reward.embeddings(clips)
                on_progress(len(rows))
            parts.append(clips.without_media())
            order += rows
    return Media.concatenate(parts).select(sorted(range(len(order)), key=order.__getitem__))


@contextmanager
def _heard(paths: Sequence[Path], rate: int) -> Generator[Iterator[tuple[int, Tensor]], None, None]:
    """Row and mono audio (samples,) at a rate of each file, the shortest first."""
    threads = reading_threads()

    def length(path: Path) -> Iterator[float]:
        yield seconds_of(path)

    def audio(row: int) -> Iterator[tuple[int, Tensor]]:
        yield row, resample(*read_mono(paths[row]), rate)

    with ahead(length, paths, threads, threads) as lengths:
        seconds = list(lengths)
    order = sorted(range(len(paths)), key=seconds.__getitem__)
    look = max(threads, int(ROOM / max(1.0, max(seconds) * rate)))
    with ahead(audio, order, threads, look) as heard:
        yield heard


def _alike(heard: Iterable[tuple[int, Tensor]], device: torch.device) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Rows and audio of neighbours of one length, as many as are encoded at once."""
    for _, equal in groupby(heard, key=lambda clip: clip[1].shape):
        clips = iter(equal)
        for first in clips:
            batch = [first, *islice(clips, first_batch(first[1], device) - 1)]
            yield [row for row, _ in batch], [audio for _, audio in batch]


def clips_on(
    device: torch.device,
    audio: Sequence[Tensor],
    rate: int,
    names: Sequence[str],
    prompts: Sequence[str] | None,
    cache: EmbeddingCache | None,
) -> Clips:
    """Clips of mono audio on a device: all that comes from files moves to it here.

    Raises:
        AudioError: no reward can judge one.
        DeviceError: the memory of the device is too small.
    """
    try:
        return Clips([clip.to(device) for clip in audio], rate, prompts, names, cache)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"'{names[0]}' does not fit into the memory of {device}, with {len(names) - 1} more clips ({error}); end "
            "what else uses the device, or choose another, as --device cpu does"
        ) from error
