"""Encoding of a user's files: an encoder's frames of windows or images, and their moments, shard after shard.

Shards of moments are merged in their order, so that it makes no difference where and when each of them was computed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import islice
from operator import add
from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.devices import CPU, statistics_device
from dragon_rewards.errors import AudioError
from dragon_rewards.exemplars.audio import fault, sounding
from dragon_rewards.exemplars.images import pixels
from dragon_rewards.exemplars.sources import Source
from dragon_rewards.media.cache import work_shards
from dragon_rewards.media.clips import resample
from dragon_rewards.media.on_device import examples_on
from dragon_rewards.media.prefetch import CHUNK, ahead, reading_threads
from dragon_rewards.metrics.gaussian import Moments
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.shards import Form, results
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo
    from dragon_rewards.storage.shards import Shard

MOMENTS = {"mean": ("float", "dim"), "scatter": ("float", "dim", "dim"), "count": ("int",)}
AGAIN = "remove this file, and the audio is encoded again"
SHOWN = 20  # the most files that an error message names


def moment_shards(examples: Iterable[Item], encoder_info: EncoderInfo, encoder: Encoder) -> list[Shard[Item]]:
    """Cut examples into shards whose results are moments in an encoder's space; paths of the audio play no part."""
    return work_shards(examples, lambda item: item.key.hex(), ["moments", encoder_info.name, encoder.identity])


def check_audio(ear: WindowEncoder, needed: Iterable[Item], why: str) -> None:
    """Refuse examples whose audio is missing or has changed; `why` says why they are needed.

    Raises:
        AudioError: there are such examples; the first 20 are named.
    """
    faults = [(item, wrong) for item in needed if (wrong := fault(item))]
    if faults:
        lines = [f"  {item.path or item.sha256}: {wrong}" for item, wrong in faults[:SHOWN]]
        lines += [f"  and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        raise AudioError(
            f"exemplar set '{ear.info.name}' has {why} for encoder '{ear.encoder_info.name}', and files that it takes "
            f"to make them are not there; put them back, take them out with `dragon exemplars remove {ear.info.name} "
            "FILE`, or `add` them again:\n" + "\n".join(lines)
        )


@dataclass(frozen=True)
class WindowEncoder:
    """An encoder applied to the windows, or the images, of a set, with the cache of what it encoded before."""

    info: ExemplarSetInfo
    encoder_info: EncoderInfo
    encoder: Encoder
    owner: PluginRecord | None
    cache: EmbeddingCache | None
    device: torch.device
    used: list[Shard[Item]] = field(default_factory=list)

    def waiting(self, examples: Iterable[Item]) -> list[Item]:
        """Return the examples whose moments no shard holds yet."""
        shards = moment_shards(examples, self.encoder_info, self.encoder)
        return [item for shard in shards if not shard.done for item in shard.sources]

    def moments(self, examples: Iterable[Item]) -> Moments:
        """Compute the moments of all frames of some examples, on the CPU, shard after shard.

        Raises:
            DragonError: audio is missing, or the encoder failed.
        """
        shards = moment_shards(examples, self.encoder_info, self.encoder)
        self.used.extend(shards)
        with self.told(sum(len(shard.sources) for shard in shards if not shard.done)) as advance:
            heard = partial(self.shard_moments, advance=advance)
            return reduce(add, results(shards, heard, FORM, keep=len(shards) > 1))

    @torch.no_grad()
    def shard_moments(self, examples: Sequence[Item], advance: Callable[[], None]) -> Moments:
        """Compute the moments of all frames of some examples, with a few windows in memory at a time, on the CPU."""
        total, place = None, statistics_device(self.device)
        for _, frames in self.heard(examples, advance):
            heard = Moments.of(torch.cat(frames).to(place))
            total = heard if total is None else total + heard
        if total is None:
            raise AudioError(f"nothing is heard in the new files of exemplar set '{self.info.name}'; remove them")
        return Moments(total.mean.to(CPU), total.scatter.to(CPU), total.count)

    @torch.no_grad()
    def heard(self, examples: Iterable[Item], advance: Callable[[], None]) -> Iterator[tuple[list[Item], list[Tensor]]]:
        """Yield the items of a few windows at a time, with the frames (frames, dim) of each of these windows.

        Args:
            examples: of the set.
            advance: called when an example has been read.
        """

        def noted() -> Iterator[Item]:
            for item in examples:
                yield item
                advance()

        threads = reading_threads()
        read = self._windows if self.info.modality is Modality.AUDIO else self._image
        with ahead(read, noted(), threads, threads) as windows:
            while batch := list(islice(windows, CHUNK)):
                sources, names, audio = map(list, zip(*batch, strict=True))
                rate = self.encoder_info.sample_rate
                clips = examples_on(self.info.modality, self.device, audio, rate, names, None, self.cache)
                yield sources, list(clips.embeddings(self.encoder_info, self.encoder, self.owner).frames)

    def _windows(self, item: Item) -> Iterator[tuple[Item, str, Tensor]]:
        """Yield item, name and audio of each window.

        The audio is what `dragon score` encodes, so that embeddings of whole files are found in its cache.
        """
        for window in sounding(item):
            name = f"{item.path}, from {window.start:g} s"
            yield item, name, resample(window.audio, window.rate, self.encoder_info.sample_rate)

    def _image(self, item: Item) -> Iterator[tuple[Item, str, Tensor]]:
        """Yield item, name and pixels of an image."""
        yield item, str(item.path), pixels(Source.of(item))

    @contextmanager
    def told(self, files: int) -> Iterator[Callable[[], None]]:
        """Show the progress of encoding so many files on stderr; what is provided is called for each."""
        with progress(f"{self.info.name}: encoding", "files", files) as bar:
            if files:
                bar.say(f"{self.info.name}: encoding {counted(files, 'file')} with '{self.encoder_info.name}'")
            yield bar.advance


def write_moments(path: Path, moments: Moments) -> None:
    """Write moments to a file, which appears whole or not at all."""
    tensors = {"mean": moments.mean, "scatter": moments.scatter, "count": torch.tensor(moments.count)}
    write_tensors(path, tensors, {})


def read_moments(path: Path) -> Moments:
    """Read the moments in a file, bit for bit what was written.

    Raises:
        DragonError: the file is broken.
    """
    tensors, _ = read_tensors(path, AGAIN)
    check_tensors(tensors, MOMENTS, f"'{path}'", AGAIN)
    return Moments(tensors["mean"], tensors["scatter"], int(tensors["count"]))


FORM = Form(write_moments, read_moments)
