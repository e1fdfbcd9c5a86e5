"""Encoding of files: read ahead in threads, moved to a device, and encoded there, the shortest files first.

A file of up to five minutes is encoded in one pass. A longer file, and any file that is judged against audio of the
user's, is cut into windows exactly as exemplar sets are (`read_windows`; each window is decoded, mixed and resampled by
itself), and its frames are the frames of all windows, one after another. So an hour takes no more memory than a window,
and a track has the very frames that the statistics of its own set are made of. A file that is no longer than one window
has the same frames either way.

Images are encoded whole, a few at a time.

Memory holds the files or windows that are read ahead and one batch; of all other files it holds embeddings only, and
where a reward judges each clip by itself the embeddings of 512 files.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

import torch

from dragon_rewards.exemplars.sets import contents
from dragon_rewards.media.audio import read_mono, read_windows, seconds_of
from dragon_rewards.media.clips import LOUDEST, check_peak, resample
from dragon_rewards.media.cut import Cut
from dragon_rewards.media.encodable import BATCH, first_batch
from dragon_rewards.media.image_files import opened_image, read_image
from dragon_rewards.media.kinds import medium_of
from dragon_rewards.media.media import EmbeddingStore, Encoded, Media
from dragon_rewards.media.on_device import examples_on
from dragon_rewards.media.prefetch import CHUNK, ahead, reading_threads
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.rewards import Reward

ROOM = 2**26  # samples that are read ahead, 256 MB; more where a file for each thread takes more
PART = 512  # files whose embeddings are in memory at once where a reward judges clips, as many as of a shard
WINDOWS = 2  # windows of a long file that a CPU encodes at once: eight take 90 MB more and are no faster


@dataclass(frozen=True)
class Files:
    """Files of audio or of images, with a prompt for each of them or for none."""

    paths: Sequence[Path]
    prompts: Sequence[str] | None = None


def cut_of(reward: Reward) -> Cut:
    """Return how a reward's files are cut into windows.

    If the reward's exemplar set is audio of the user's, files are cut as most examples of the set were; otherwise the
    default applies.
    """
    held = contents(reward.exemplar_set) if reward.exemplar_set else None
    return Cut(held.window, held.window) if held and held.window else Cut()


@dataclass(frozen=True)
class EncodingJob:
    """Rewards whose encoders share a sample rate and a cut, and the device on which they encode.

    Attributes:
        rewards: one reward or more.
        device: where the clips are encoded.
        cache: where embeddings are kept for the next time; None to keep none.
        on_progress: called with the number of further steps done; a file takes one step to read and one for each
            reward.
        on_audio: called on the CPU with rows and their mono audio, some at a time: of each whole file, or of each
            window; never with images.
    """

    rewards: Sequence[Reward]
    device: torch.device
    cache: EmbeddingCache | None
    on_progress: Callable[[int], None]
    on_audio: Callable[[Sequence[int], Sequence[Tensor]], None] = lambda _rows, _audio: None

    @property
    def rate(self) -> int:
        """The sample rate of the encoders of all rewards, in Hz."""
        return self.rewards[0].encoder.sample_rate

    @property
    def medium(self) -> Modality:
        """Whether the encoders of all rewards are given audio or images."""
        return medium_of([reward.encoder for reward in self.rewards])

    @cached_property
    def cut(self) -> Cut:
        """The way in which all rewards of the job cut long files into windows, found out once for all files."""
        return cut_of(self.rewards[0])

    @torch.no_grad()
    def encoded(self, files: Files, rows: Sequence[int], examples: Sequence[Tensor]) -> Encoded:
        """Encode audio (samples,), or pixels, of the files at `rows`; return the embeddings that the rewards judge."""
        names = [str(files.paths[row]) for row in rows]
        prompts = None if files.prompts is None else [files.prompts[row] for row in rows]
        clips = examples_on(self.medium, self.device, examples, self.rate, names, prompts, self.cache)
        for reward in self.rewards:
            reward.embeddings(clips)
        return clips.without_media()


def encode_files(job: EncodingJob, files: Files) -> Media:
    """Encode all files and return their embeddings in the order of the files; raises as `encode_in_parts`."""
    rows, parts = zip(*encode_in_parts(job, files), strict=True)
    return _in_order(list(chain.from_iterable(rows)), parts)


def encode_in_parts(job: EncodingJob, files: Files) -> Iterator[tuple[list[int], Media]]:
    """Yield rows and embeddings: first of files that are encoded in one pass, and then of each long file by itself.

    Of the former there are 512 in a part, the shortest first.

    Raises:
        AudioError: a file is missing or not audio, which is found out before anything is encoded; or no reward can
            judge it.
        ImageError: the same of images.
        DeviceError: a clip is too large for the memory of the device.
        DragonError: an encoder failed. What was encoded before that is in the cache.
    """
    if job.medium is Modality.IMAGE:
        yield list(range(len(files.paths))), _images(job, files)
        return
    seconds = lengths(files.paths)
    order = sorted(range(len(seconds)), key=seconds.__getitem__)
    short = [row for row in order if seconds[row] <= job.cut.longest]
    for at in range(0, len(short), PART):
        rows = short[at : at + PART]
        yield sorted(rows), _short(job, files, rows, seconds[rows[-1]])
    yield from _long(job, files, order[len(short) :])


def _images(job: EncodingJob, files: Files) -> Media:
    """Encode all images, and return their embeddings in the order of the files."""
    for path in files.paths:
        with opened_image(path):  # reads its header
            pass

    def seen(row: int) -> Iterator[tuple[int, Tensor]]:
        yield row, read_image(files.paths[row])

    threads, parts = reading_threads(), list[Media]()
    with ahead(seen, range(len(files.paths)), threads, threads) as images:
        while batch := list(islice(images, CHUNK)):
            job.on_progress(len(batch))
            parts.append(job.encoded(files, [row for row, _ in batch], [pixels for _, pixels in batch]))
            job.on_progress(len(batch) * len(job.rewards))
    return Media.concatenate(parts)


def lengths(paths: Sequence[Path]) -> list[float]:
    """Return the length of each file in seconds, as its header states it.

    Raises:
        AudioError: a file is missing or not audio.
    """

    def length(path: Path) -> Iterator[float]:
        yield seconds_of(path)

    threads = reading_threads()
    with ahead(length, paths, threads, threads) as found:
        return list(found)


def _short(job: EncodingJob, files: Files, order: Sequence[int], longest: float) -> Media:
    """Encode the files at the rows in `order`, the shortest first, and return their embeddings sorted by row."""

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
    """Join the parts, which hold the clips of `rows` one after another, and sort the clips by row."""
    return Media.concatenate(parts).select(sorted(range(len(rows)), key=rows.__getitem__))


def _long(job: EncodingJob, files: Files, order: Sequence[int]) -> Iterator[tuple[list[int], Media]]:
    """Yield the row and the embeddings of each file in `order`, cut into windows."""

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
            yield [row], join_windows([job.encoded(files, rows, clips) for rows, clips in batches])
            job.on_progress(1 + len(job.rewards))


def _sounding(windows: Iterable[tuple[int, Tensor, bool]], job: EncodingJob) -> Iterator[tuple[int, Tensor]]:
    """Yield the row and the audio of each window in which something is heard."""
    for row, audio, silent in windows:
        job.on_audio([row], [audio])
        if not silent:
            yield row, audio


def join_windows(windows: Sequence[Encoded]) -> Encoded:
    """Join the windows of a file to one clip that has the frames of all windows, one after another.

    Args:
        windows: sets of windows, of which the first lends its name and its prompt; at least one window in all.
    """
    known, first = EmbeddingStore.join([part.known for part in windows]), windows[0].select([0])
    joined = EmbeddingStore(
        {encoder: (torch.cat(each),) for encoder, each in known.frames.items()}, first.known.prompts
    )
    return Encoded(joined, first.names, first.prompts)


def _alike(
    heard: Iterable[tuple[int, Tensor]], device: torch.device, most: int = BATCH
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Yield the rows and the audio of neighbouring clips of equal length, in batches that are encoded at once."""
    for _, equal in groupby(heard, key=lambda clip: clip[1].shape):
        clips = iter(equal)
        for first in clips:
            batch = [first, *islice(clips, min(most, first_batch(first[1], device)) - 1)]
            yield [row for row, _ in batch], [audio for _, audio in batch]
