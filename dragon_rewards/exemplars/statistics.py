"""Statistics of a user's files: made when they are first needed, and updated when files were added or removed.

A file of statistics holds, beside the Gaussian, the keys of the items that it was made of. So it is never used for
another selection of items, whatever has become of the set meanwhile.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.devices import CPU, statistics_device
from dragon_rewards.errors import AudioError, DragonError
from dragon_rewards.exemplars.audio import fault, sounding
from dragon_rewards.exemplars.images import pixels
from dragon_rewards.exemplars.sets import MANIFEST, gaussian_of, items, space_of
from dragon_rewards.exemplars.sources import Source
from dragon_rewards.exemplars.store import changing_sets, removed_items
from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.clips import resample
from dragon_rewards.media.on_device import examples_on
from dragon_rewards.media.prefetch import CHUNK, ahead, reading_threads
from dragon_rewards.metrics.frames import MINIMUM_FRAMES
from dragon_rewards.metrics.gaussian import Gaussian, Moments
from dragon_rewards.protocols import Modality
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo

KEYS, KEY_BYTES = "items", 32  # the tensor of keys, uint8 (items, 32)
AGAIN = "remove this file, and it is made again from the audio; of a set that was imported, import it again"
SHOWN = 20  # the most files that an error message names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """The statistics in a file.

    Attributes:
        gaussian: the Gaussian of all frames.
        identity: the identity of the encoder that made the frames.
        keys: the keys of the items that the frames are from.
    """

    gaussian: Gaussian
    identity: str
    keys: frozenset[bytes]


def read_kept(path: Path) -> Kept:
    """Read the statistics in a file.

    Raises:
        DragonError: the file is broken.
    """
    tensors, metadata = read_tensors(path, AGAIN)
    identity = metadata.get("identity")
    if identity is None:
        raise DragonError(f"'{path}' does not say which encoder made it; {AGAIN}")
    gaussian = gaussian_of(tensors, f"'{path}'", AGAIN)
    check_tensors(tensors, {KEYS: ("int", "items", str(KEY_BYTES))}, f"'{path}'", AGAIN)
    return Kept(gaussian, identity, frozenset(map(bytes, tensors[KEYS].to(torch.uint8).tolist())))


def write_kept(path: Path, kept: Kept) -> None:
    """Write statistics to a file, which appears whole or not at all."""
    keys = torch.tensor([list(key) for key in sorted(kept.keys)], dtype=torch.uint8)
    write_tensors(path, {**kept.gaussian.to_tensors(), KEYS: keys}, {"identity": kept.identity})


def up_to_date(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device,
) -> Gaussian:
    """Return the Gaussian of a user's files in an encoder's space, made or updated on a device if need be, and stored.

    Raises:
        DragonError: a file that is needed is missing or has changed, there are too few, or the encoder failed.
    """
    path = info.path / f"{space_of(encoder_info)}.safetensors"
    wanted = {item.key: item for item in items(info)}
    kept = read_kept(path) if path.is_file() else None
    ear = _WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    if kept and kept.identity != encoder.identity:
        moments = _anew(ear, wanted, f"statistics made with identity '{kept.identity}', not '{encoder.identity}'")
    elif kept and kept.keys == wanted.keys():
        return kept.gaussian
    else:
        moments = (_mended(ear, kept, wanted) if kept else None) or _anew(ear, wanted, "no statistics to be mended")
    if moments.count < MINIMUM_FRAMES:
        raise DragonError(f"exemplar set '{info.name}' is a single frame of '{encoder_info.name}'; add more to it")
    made = Kept(Gaussian.of_moments(moments), encoder.identity, frozenset(wanted))
    _keep(path, made)
    return made.gaussian


def _keep(path: Path, made: Kept) -> None:
    """Store statistics for the next time; if that fails, log a warning, as they can still be used this time."""
    try:
        with changing_sets():
            if (path.parent / MANIFEST).is_file():  # otherwise the set has been removed meanwhile
                write_kept(path, made)
    except (OSError, DragonError) as error:
        log.warning("statistics are not kept in '%s' (%s): they are made again when they are needed again", path, error)


def pooled_windows(
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device,
) -> tuple[list[Item], Tensor]:
    """Return the item of each window or image of a user's set, and the mean frame of each (windows, dim), on the CPU.

    Raises:
        DragonError: audio is missing or has changed, or the encoder failed.
    """
    ear = _WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    _check_audio(ear, items(info), "no embeddings")
    sources: list[Item] = []
    means: list[Tensor] = []
    for batch, frames in ear.heard(items(info)):
        sources += batch
        means.append(torch.stack([each.mean(0) for each in frames]).cpu())
    return sources, torch.cat(means)


def gaussian_of_audio(
    info: ExemplarSetInfo,
    examples: Sequence[Item],
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device,
) -> Gaussian:
    """Return the Gaussian of all frames of examples of a set, computed on a device.

    Raises:
        DragonError: audio is missing or has changed, or the encoder failed.
    """
    ear = _WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    return Gaussian.of_moments(ear.moments(examples))


def _anew(ear: _WindowEncoder, wanted: Mapping[bytes, Item], why: str) -> Moments:
    """Compute the moments of all items; `why` says in an error message why they are needed."""
    examples = list(wanted.values())
    _check_audio(ear, examples, why)
    return ear.moments(examples)


def _mended(ear: _WindowEncoder, kept: Kept, wanted: Mapping[bytes, Item]) -> Moments | None:
    """Update stored statistics: merge new items in and take removed ones out; return None if starting over is better.

    Starting over is better if audio of removed items is gone, or if most of the items or most of the spread is removed,
    because float64 cancels when little is left.
    """
    added = [item for key, item in wanted.items() if key not in kept.keys]
    known = {item.key: item for item in removed_items(ear.info.path)}
    gone = kept.keys - wanted.keys()
    removed = [known[key] for key in sorted(gone) if key in known and fault(known[key]) is None]
    if len(removed) < len(gone) or 2 * len(gone) > len(kept.keys):
        return None
    _check_audio(ear, added, "statistics that lack new files")
    moments = kept.gaussian.moments
    if added:
        moments += ear.moments(added)
    if not removed:
        return moments
    left = moments - ear.moments(removed)
    return left if left.count < MINIMUM_FRAMES or Gaussian.of_moments(left).is_sound else None


def _check_audio(ear: _WindowEncoder, needed: Iterable[Item], why: str) -> None:
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
class _WindowEncoder:
    """An encoder applied to the windows, or the images, of a set, with the cache of what it encoded before."""

    info: ExemplarSetInfo
    encoder_info: EncoderInfo
    encoder: Encoder
    owner: PluginRecord | None
    cache: EmbeddingCache | None
    device: torch.device

    @torch.no_grad()
    def moments(self, examples: Sequence[Item]) -> Moments:
        """Compute the moments of all frames of some examples, with a few windows in memory at a time, on the CPU."""
        total, place = None, statistics_device(self.device)
        for _, frames in self.heard(examples):
            heard = Moments.of(torch.cat(frames).to(place))
            total = heard if total is None else total + heard
        if total is None:
            raise AudioError(f"nothing is heard in the new files of exemplar set '{self.info.name}'; remove them")
        return Moments(total.mean.to(CPU), total.scatter.to(CPU), total.count)

    @torch.no_grad()
    def heard(self, examples: Sequence[Item]) -> Iterator[tuple[list[Item], list[Tensor]]]:
        """Yield the items of a few windows at a time, with the frames (frames, dim) of each of these windows."""
        threads = reading_threads()
        read = self._windows if self.info.modality is Modality.AUDIO else self._image
        with ahead(read, self._noted(examples), threads, threads) as windows:
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

    def _noted(self, examples: Sequence[Item]) -> Iterator[Item]:
        """Yield the examples one after another, and show the progress on stderr."""
        with progress(f"{self.info.name}: encoding", "files", len(examples)) as bar:
            bar.say(f"{self.info.name}: encoding {counted(len(examples), 'file')} with '{self.encoder_info.name}'")
            for item in examples:
                yield item
                bar.advance()
