"""Audio files as encoders hear them: read ahead in threads, moved to a device, and encoded there, the shortest first.

A file of up to five minutes is heard in one pass. A longer one, and any that is judged against audio of the user's, is
cut into windows just as exemplar sets are (`read_windows`; each is decoded, mixed and resampled by itself), and its
frames are those of all windows, one after another: so an hour takes no more memory than a window, and a track has the
very frames that the statistics of its own set are made of. A file that is no longer than a window is one, so that both
ways are the same.

Memory holds the files or windows that are read ahead and a batch; of the others, embeddings alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.batches import BATCH, first_batch
from dragon_rewards.exemplars import items
from dragon_rewards.media.audio import LOUDEST, check_peak, read_mono, read_windows, resample, seconds_of
from dragon_rewards.media.clips import clips_on
from dragon_rewards.media.cut import Cut
from dragon_rewards.media.embeddings import EmbeddingStore
from dragon_rewards.media.media import Encoded, Media
from dragon_rewards.media.prefetch import ahead, reading_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.rewards import Reward

ROOM = 2**26  # samples that are read ahead, 256 MB, if so many are not a file for each thread
WINDOWS = 2  # of a long file that a CPU encodes at once: eight take 90 MB more, and as long


@dataclass(frozen=True)
class Files:
    """Audio files, with a prompt for each if they have some."""

    paths: Sequence[Path]
    prompts: Sequence[str] | None = None


def cut_of(reward: Reward) -> Cut:
    """How a reward hears files: as the examples of its set were cut, most of them, if they are audio of the user's."""
    examples = items(reward.exemplar_set) if reward.exemplar_set else ()
    windows = Counter(item.window for item in examples if item.window)
    if not windows:
        return Cut()
    ((window, _),) = windows.most_common(1)
    return Cut(window, window)


@dataclass(frozen=True)
class EncodingJob:
    """Rewards of one sample rate and one cut, and where they hear.

    Attributes:
        rewards: one or more.
        device: where the clips are encoded.
        cache: where embeddings are kept for the next time.
        on_progress: is told of each further step; a file takes one, and one for each reward.
        on_audio: is shown rows and mono audio, some at a time, on the CPU: of every file, or of each of its windows.
    """

    rewards: Sequence[Reward]
    device: torch.device
    cache: EmbeddingCache | None
    on_progress: Callable[[int], None]
    on_audio: Callable[[Sequence[int], Sequence[Tensor]], None] = lambda _rows, _audio: None

    @property
    def rate(self) -> int:
        """In Hz, of all encoders."""
        return self.rewards[0].encoder.sample_rate

    @property
    def cut(self) -> Cut:
        """That of all rewards."""
        return cut_of(self.rewards[0])

    @torch.no_grad()
    def encoded(self, files: Files, rows: Sequence[int], audio: Sequence[Tensor]) -> Encoded:
        """What the rewards judge of audio (samples,) of the files at `rows`."""
        names = [str(files.paths[row]) for row in rows]
        prompts = None if files.prompts is None else [files.prompts[row] for row in rows]
        clips = clips_on(self.device, audio, self.rate, names, prompts, self.cache)
        for reward in self.rewards:
            reward.embeddings(clips)
        return clips.without_media()


def encode_files(job: EncodingJob, files: Files) -> Media:
    """The embeddings that the rewards judge, in the order of the files; raises as `encode_in_parts`."""
    rows, parts = zip(*encode_in_parts(job, files), strict=True)
    return _in_order(list(chain.from_iterable(rows)), parts)


def encode_in_parts(job: EncodingJob, files: Files) -> Iterator[tuple[list[int], Media]]:
    """Rows and embeddings of the files that are heard in one pass, and then of each long file by itself.

    Raises:
        AudioError: a file is missing or not audio, which is told before anything is encoded; or no reward can judge it.
        DeviceError: a clip is too large for the memory of the device.
        DragonError: an encoder failed. What was encoded by then is in the cache.
    """
    seconds = _lengths(files.paths)
    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    short = [row for row in order if seconds[row] <= job.cut.longest]
    if short:
        yield sorted(short), _short(job, files, short, seconds[short[-1]])
    yield from _long(job, files, order[len(short) :])


def _lengths(paths: Sequence[Path]) -> list[float]:
    """Seconds of each file, by its header."""

    def length(path: Path) -> Iterator[float]:
        yield seconds_of(path)

    threads = reading_threads()
    with ahead(length, paths, threads, threads) as lengths:
        return list(lengths)


def _short(job: EncodingJob, files: Files, order: Sequence[int], longest: float) -> Media:
    """The embeddings of the files at `order`, the shortest first, but in the order of their rows."""

    def audio(row: int) -> Iterator[tuple[int, Tensor]]:
        yield row, resample(*read_mono(files.paths[row]), job.rate)

    threads, parts, taken = reading_threads(), list[Media](), list[int]()
    look = max(threads, int(ROOM / max(1.0, longest * job.rate)))
    with ahead(audio, order, threads, look) as heard:
        for rows, clips in _alike(heard, job.device):
            job.on_progress(len(rows))
            job.on_audio(rows, clips)
            parts.append(job.encoded(files, rows, clips))
            job.on_progress(len(rows) * len(job.rewards))
            taken += rows
    return _in_order(taken, parts)


def _in_order(rows: Sequence[int], parts: Sequence[Media]) -> Media:
    """All parts as one, in the order of the rows that they have one after another."""
    return Media.concatenate(parts).select(sorted(range(len(rows)), key=rows.__getitem__))


def _long(job: EncodingJob, files: Files, order: Sequence[int]) -> Iterator[tuple[list[int], Media]]:
    """Each file of `order`, cut into windows."""

    def windows(row: int) -> Iterator[tuple[int, Tensor, bool]]:
        peak, name = 0.0, str(files.paths[row])
        for window in read_windows(files.paths[row], job.cut.window, name):
            peak = max(peak, window.peak)
            if not peak <= LOUDEST:
                break
            yield row, resample(window.audio, window.rate, job.rate), window.silent
        check_peak(peak, name)

    at_once = WINDOWS if job.device.type == "cpu" else BATCH
    with ahead(windows, order, threads=1, look=0) as heard:
        for row, own in groupby(heard, key=lambda window: window[0]):
            batches = _alike(_sounding(own, job), job.device, at_once)
            yield [row], _joined([job.encoded(files, rows, clips) for rows, clips in batches])
            job.on_progress(1 + len(job.rewards))


def _sounding(windows: Iterable[tuple[int, Tensor, bool]], job: EncodingJob) -> Iterator[tuple[int, Tensor]]:
    """Row and audio of the windows in which something is heard."""
    for row, audio, silent in windows:
        job.on_audio([row], [audio])
        if not silent:
            yield row, audio


def _joined(windows: Sequence[Encoded]) -> Encoded:
    """The windows of a file as one clip: their frames one after another."""
    known, first = EmbeddingStore.join([part.known for part in windows]), windows[0].select([0])
    joined = EmbeddingStore(
        {encoder: (torch.cat(each),) for encoder, each in known.frames.items()}, first.known.prompts
    )
    return Encoded(joined, first.names, first.prompts)


def _alike(
    heard: Iterable[tuple[int, Tensor]], device: torch.device, most: int = BATCH
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Rows and audio of neighbours of one length, as many as are encoded at once, and no more than `most`."""
    for _, equal in groupby(heard, key=lambda clip: clip[1].shape):
        clips = iter(equal)
        for first in clips:
            batch = [first, *islice(clips, min(most, first_batch(first[1], device)) - 1)]
            yield [row for row, _ in batch], [audio for _, audio in batch]
