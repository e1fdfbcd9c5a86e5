"""Statistics of a user's files: made when they are first needed, and updated when files were added or removed.

A file of statistics holds, beside the Gaussian, the keys of the items that it was made of. So it is never used for
another selection of items, whatever has become of the set meanwhile.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.exemplars.audio import fault
from dragon_rewards.exemplars.sets import MANIFEST, gaussian_of, items, space_of
from dragon_rewards.exemplars.store import changing_sets, removed_items
from dragon_rewards.exemplars.window_encoder import FORM, WindowEncoder, check_audio, moment_shards
from dragon_rewards.media.cache import open_cache
from dragon_rewards.metrics.frames import MINIMUM_FRAMES
from dragon_rewards.metrics.gaussian import Gaussian
from dragon_rewards.storage.shards import discard
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.metrics.gaussian import Moments
    from dragon_rewards.plugins import PluginRecord
    from dragon_rewards.protocols import Encoder, EncoderInfo, ExemplarSetInfo
    from dragon_rewards.storage.shards import Shard

KEYS, KEY_BYTES = "items", 32  # the tensor of keys, uint8 (items, 32)
AGAIN = "remove this file, and it is made again from the audio; of a set that was imported, import it again"

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
    packed = tensors[KEYS].to(torch.uint8).numpy().tobytes()
    return Kept(gaussian, identity, frozenset(packed[at : at + KEY_BYTES] for at in range(0, len(packed), KEY_BYTES)))


def write_kept(path: Path, kept: Kept) -> None:
    """Write statistics to a file, which appears whole or not at all."""
    packed = bytearray(b"".join(sorted(kept.keys)))
    keys = torch.frombuffer(packed, dtype=torch.uint8).reshape(-1, KEY_BYTES)
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
    path = statistics_path(info, encoder_info)
    wanted = {item.key: item for item in items(info)}
    kept = read_kept(path) if path.is_file() else None
    ear = WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    if kept and kept.identity != encoder.identity:
        moments = _anew(ear, wanted, f"statistics made with identity '{kept.identity}', not '{encoder.identity}'")
    elif kept and kept.keys == wanted.keys():
        return kept.gaussian
    else:
        moments = (_mended(ear, kept, wanted) if kept else None) or _anew(ear, wanted, "no statistics to be mended")
    if moments.count < MINIMUM_FRAMES:
        raise DragonError(f"exemplar set '{info.name}' is a single frame of '{encoder_info.name}'; add more to it")
    made = Kept(Gaussian.of_moments(moments), encoder.identity, frozenset(wanted))
    if _keep(path, made):
        discard(ear.used)
    return made.gaussian


def statistics_path(info: ExemplarSetInfo, encoder: EncoderInfo) -> Path:
    """Return the path of the file where the set keeps statistics in this encoder's space."""
    return info.path / f"{space_of(encoder)}.safetensors"


def missing_shards(info: ExemplarSetInfo, encoder_info: EncoderInfo, encoder: Encoder) -> list[Shard[Item]]:
    """Return the shards of a user's audio whose moments `up_to_date` needs and does not find in stored statistics.

    Raises:
        DragonError: stored statistics are broken.
    """
    path = statistics_path(info, encoder_info)
    wanted = {item.key: item for item in items(info)}
    kept = read_kept(path) if path.is_file() else None
    if kept and kept.identity == encoder.identity and (change := _mending(info, kept, wanted)):
        return moment_shards(change[0], encoder_info, encoder)
    return moment_shards(wanted.values(), encoder_info, encoder)


def _keep(path: Path, made: Kept) -> bool:
    """Store statistics for the next time and return whether that succeeded; log a warning if not, as they serve now."""
    try:
        with changing_sets():
            if (path.parent / MANIFEST).is_file():  # otherwise the set has been removed meanwhile
                write_kept(path, made)
    except (OSError, DragonError) as error:
        log.warning("statistics are not kept in '%s' (%s): they are made again when they are needed again", path, error)
        return False
    return True


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
    ear = WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    check_audio(ear, items(info), "no embeddings")
    sources: list[Item] = []
    means: list[Tensor] = []
    with ear.told(len(items(info))) as advance:
        for batch, frames in ear.heard(items(info), advance):
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
    ear = WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    made = Gaussian.of_moments(ear.moments(examples))
    discard(ear.used)
    return made


def write_shard(
    path: Path,
    examples: Sequence[Item],
    info: ExemplarSetInfo,
    encoder_info: EncoderInfo,
    encoder: Encoder,
    owner: PluginRecord | None,
    device: torch.device,
) -> None:
    """Write the moments of all frames of a shard of examples to the file of its result.

    Raises:
        DragonError: audio is missing or has changed, which is found out before anything is encoded; or the encoder
            failed.
    """
    ear = WindowEncoder(info, encoder_info, encoder, owner, open_cache(), device)
    check_audio(ear, examples, "no moments of these files")
    FORM.write(path, ear.shard_moments(examples, lambda: None))


def _anew(ear: WindowEncoder, wanted: Mapping[bytes, Item], why: str) -> Moments:
    """Compute the moments of all items; `why` says in an error message why they are needed."""
    check_audio(ear, ear.waiting(wanted.values()), why)
    return ear.moments(wanted.values())


def _mending(info: ExemplarSetInfo, kept: Kept, wanted: Mapping[bytes, Item]) -> tuple[list[Item], list[Item]] | None:
    """Return the items to merge into stored statistics, and those to take out; None if starting over is better.

    Starting over is better if audio of removed items is gone, or if most of the items is removed, because float64
    cancels when little is left.
    """
    added = [item for key, item in wanted.items() if key not in kept.keys]
    known = {item.key: item for item in removed_items(info.path)}
    gone = kept.keys - wanted.keys()
    removed = [known[key] for key in sorted(gone) if key in known and fault(known[key]) is None]
    return None if len(removed) < len(gone) or 2 * len(gone) > len(kept.keys) else (added, removed)


def _mended(ear: WindowEncoder, kept: Kept, wanted: Mapping[bytes, Item]) -> Moments | None:
    """Update stored statistics as `_mending` says; return None if starting over is better, also for little spread."""
    change = _mending(ear.info, kept, wanted)
    if change is None:
        return None
    added, removed = change
    check_audio(ear, ear.waiting(added), "statistics that lack new files")
    moments = kept.gaussian.moments
    if added:
        moments += ear.moments(added)
    if not removed:
        return moments
    left = moments - ear.moments(removed)
    return left if left.count < MINIMUM_FRAMES or Gaussian.of_moments(left).is_sound else None
