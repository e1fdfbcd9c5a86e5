"""Work on many files in shards that a launcher computes elsewhere: reading them, their moments, scores by a reward.

A shard is computed by one of three functions at the top level of this module, in whatever process. What is kept of it
is as little as the reward needs: a value for each clip, the moments of all frames, the mean frame of each clip, or, of
rewards that say nothing of what they need, all frames.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from dragon_rewards.compute.devices import CPU, find_device, statistics_device
from dragon_rewards.encoding import EncodingJob, Files, encode_files, encode_in_parts, lengths
from dragon_rewards.errors import AudioError, DragonError, ImageError
from dragon_rewards.exemplars.reading import FORM as READING
from dragon_rewards.exemplars.reading import read_files
from dragon_rewards.exemplars.sets import has_files
from dragon_rewards.exemplars.statistics import missing_shards, write_shard
from dragon_rewards.media.cache import open_cache, work_shards
from dragon_rewards.media.kinds import find_media, medium_of
from dragon_rewards.media.media import EmbeddingStore, Encoded
from dragon_rewards.media.prompts import prompts_of
from dragon_rewards.media.usable import damage_first, faults, tell_left_out
from dragon_rewards.metrics.frames import clip_means, in_order
from dragon_rewards.metrics.gaussian import Moments
from dragon_rewards.protocols import Modality, ReferenceKind
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose, warn_of_cut_prompts
from dragon_rewards.scoring import build_parts, rows_of, sets_of
from dragon_rewards.storage.decoding import decode_json
from dragon_rewards.storage.shards import RESULT, Form, Shard, discard, results
from dragon_rewards.storage.tensor_files import check_tensors, read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from dragon_rewards.exemplars.item import Item
    from dragon_rewards.exemplars.sources import Source
    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.protocols import ExemplarSetInfo
    from dragon_rewards.rewards import Reward

Clip = tuple[Path, str | None]  # a file, and its prompt where the reward needs prompts
AGAIN = "remove this file, and the audio is encoded again"
SHOWN = 20  # the most files that an error message names


class Launch(Protocol):
    """A way to compute shards, several at a time, here or elsewhere."""

    def __call__(
        self, doing: str, shards: Sequence[Shard[Any]], function: Callable[..., None], /, *arguments: object
    ) -> None:
        """Call `function(folder, sources, *arguments, device)` for each shard that is not done, until all are.

        Args:
            doing: what is done, for the display of progress.
            shards: whose results are to be in their folders afterwards.
            function: at the top level of a module; writes the file of the result into the folder that it is given.
            arguments: of the function.

        Raises:
            DragonError: a shard was refused, or too many workers died of it. Shards that were done are kept.
        """
        ...


def read_shard(folder: Path, sources: Sequence[Source], window: float, _device: str | None) -> None:
    """Read the audio files of a shard, as `exemplars.reading` describes it.

    Raises:
        DragonError: none of the files is on this machine.
    """
    _check_here(source.path for source in sources)
    READING.write(folder / RESULT, read_files(sources, window))


def moments_shard(
    folder: Path, examples: Sequence[Item], info: ExemplarSetInfo, encoder: str, device: str | None
) -> None:
    """Compute the moments of a shard of a set's audio in the space of an encoder.

    Raises:
        DragonError: audio is missing or has changed, which is found out before anything is encoded; or the encoder
            failed.
    """
    _check_here(Path(str(item.path)) for item in examples)
    registry, place = load_registry(), find_device(device)
    built, owner = registry.build_encoder(encoder, place), registry.owners["register_encoders", encoder]
    write_shard(folder / RESULT, examples, info, registry.encoder(encoder), built, owner, place)


def score_shard(folder: Path, clips: Sequence[Clip], reward: str, device: str | None) -> None:
    """Encode a shard of clips and keep what a reward needs of them; a file that no reward can judge is a fault.

    Raises:
        DragonError: none of the files is on this machine, or the encoder or the reduction failed.
    """
    _check_here(path for path, _ in clips)
    FORM.write(folder / RESULT, part_of(clips, compose(reward), open_cache(), find_device(device)))


def _check_here(paths: Iterable[Path]) -> None:
    """Refuse files that were found elsewhere if none is on this machine, which lacks the disk: they are not damaged."""
    first, *others = paths
    if not any(path.exists() for path in (first, *others)):
        raise DragonError(
            f"'{first}' and {len(others)} more are not on the machine that was to read them; workers read the files "
            "themselves: share the folder with all machines, at the same path"
        )


def launch_statistics(info: ExemplarSetInfo, encoder: str, launch: Launch, device: torch.device | None) -> None:
    """Let a launcher compute the moments that statistics of a set still lack in an encoder's space.

    It does nothing for captions, and for a set without audio on this machine.

    Raises:
        DragonError: audio is missing or has changed, or the encoder failed.
    """
    if has_files(info):
        registry = load_registry()
        shards = missing_shards(info, registry.encoder(encoder), registry.build_encoder(encoder, device))
        launch(f"{info.name}: encoding with '{encoder}'", shards, moments_shard, info, encoder)


@dataclass(frozen=True)
class Part:
    """What is kept of the clips of a shard.

    Attributes:
        rows: the places of the clips that could be judged, among the clips of the shard.
        faults: a message for each of the others.
        tensors: by name. Either `values` (clips,); or `mean`, `scatter` and `count` of all frames; or `frames` of all
            clips one after another (frames, dim), `lengths`, their number for each clip, and where the reward needs
            prompts `prompts` (clips, dim).
    """

    rows: list[int]
    faults: list[str]
    tensors: dict[str, Tensor]


def _write(path: Path, part: Part) -> None:
    write_tensors(
        path, {**part.tensors, "rows": torch.tensor(part.rows, dtype=torch.int64)}, {"faults": json.dumps(part.faults)}
    )


def _read(path: Path) -> Part:
    tensors, metadata = read_tensors(path, AGAIN)
    check_tensors(tensors, {"rows": ("int", "clips")}, f"'{path}'", AGAIN)
    told = decode_json(metadata.get("faults", ""), list[str], f"'{path}'", AGAIN)
    return Part(tensors.pop("rows").tolist(), told, tensors)


FORM = Form(_write, _read)


def part_of(clips: Sequence[Clip], reward: Reward, cache: EmbeddingCache | None, device: torch.device) -> Part:
    """Encode clips, and return what the reward needs of them.

    Raises:
        DragonError: the encoder or the reduction failed.
    """
    rows, bad = list(range(len(clips))), dict[Path, str]()
    try:
        return Part(rows, [], _kept(clips, reward, cache, device))
    except (AudioError, ImageError):
        bad = faults([path for path, _ in clips], medium_of([reward.encoder]))
        if not bad:
            raise
    rows = [row for row in rows if clips[row][0] not in bad]
    return Part(rows, list(bad.values()), _kept([clips[row] for row in rows], reward, cache, device) if rows else {})


@torch.no_grad()
def _kept(
    clips: Sequence[Clip], reward: Reward, cache: EmbeddingCache | None, device: torch.device
) -> dict[str, Tensor]:
    files = Files([path for path, _ in clips], [prompt for _, prompt in clips if prompt is not None] or None)
    job = EncodingJob([reward], device, cache, lambda _: None)
    if _judges_alone(reward):
        found = [(rows, reward.metric(part).to(CPU)) for rows, part in encode_in_parts(job, files)]
        return {"values": in_order([values for _, values in found], [rows for rows, _ in found])}
    if _takes_moments(reward):
        place = statistics_device(device)
        heard = (reward.embeddings(part).to(place).frames for _, part in encode_in_parts(job, files))
        total = reduce(add, (Moments.of(torch.cat(list(frames))) for frames in heard))
        return {"mean": total.mean, "scatter": total.scatter, "count": torch.tensor(total.count)}
    embeddings = reward.embeddings(encode_files(job, files)).to(CPU)
    prompts = {} if embeddings.prompts is None else {"prompts": embeddings.prompts}
    if reward.reduction.pooled:
        means = clip_means(embeddings.frames, reward.encoder.dim)
        return {"frames": means, "lengths": torch.ones(len(means), dtype=torch.int64), **prompts}
    frames = list(embeddings.frames)
    return {"frames": torch.cat(frames), "lengths": torch.tensor(list(map(len, frames))), **prompts}


def _judges_alone(reward: Reward) -> bool:
    return reward.kind.per_clip and reward.reduction.minimum_clips <= 1


def _takes_moments(reward: Reward) -> bool:
    return hasattr(reward.registry.build_reduction(reward.reduction.name), "of_moments")


def score_in_shards(
    reward: Reward, paths: Iterable[Path], table: Path | None, launch: Launch, device: torch.device, *, skip_bad: bool
) -> list[dict[str, Any]]:
    """Compute what `scoring.score_files` does, with a launcher that encodes the files in shards.

    Files that no reward can judge do not end the work. They are listed when all others are done, and then left out or
    refused; in the latter case what was done is kept.

    Args:
        reward: the reward to score with.
        paths: files and folders, which the workers find at the same places.
        table: a file of prompts; None for prompts that lie beside the files.
        launch: computes the shards.
        device: where sets are judged.
        skip_bad: whether files that no reward can judge are named on stderr and left out.

    Raises:
        AudioError: a path is missing, a folder has no audio, a file is not audio, or no reward can judge it.
        DragonError: as `score_files` and `Launch` say.
    """
    places = list(paths)
    sets = [places] if reward.kind.per_clip else sets_of(places)
    found = [_clips(reward, each, table, skip_bad=skip_bad) for each in sets]
    if reward.exemplar_set and reward.reduction.reference is ReferenceKind.STATISTICS:
        launch_statistics(reward.exemplar_set, reward.encoder.name, launch, device)
    build_parts(reward, device)
    warn_of_cut_prompts([reward], [prompt for clips in found for _, prompt in clips if prompt is not None], device)
    shards = [_shards(reward, clips, device) for clips in found]
    launch("encoding", list(chain.from_iterable(shards)), score_shard, reward.name)
    rows = []
    for each, own in zip(sets, shards, strict=True):
        files, values = _judged(reward, own, device, skip_bad=skip_bad)
        rows += rows_of(reward, files, values, {"path": str(each[0])} if len(sets) > 1 else {})
    discard(chain.from_iterable(shards))
    return rows


def _clips(reward: Reward, places: Sequence[Path], table: Path | None, *, skip_bad: bool) -> list[Clip]:
    files, medium = find_media(places, [reward.encoder]), medium_of([reward.encoder])
    with damage_first(files, medium):
        reward.check_count(len(files))
    if not skip_bad and medium is Modality.AUDIO:
        lengths(files)  # refuses what is no audio by its header
    if reward.reduction.needs_prompts:
        return list(zip(files, prompts_of(files, table, places), strict=True))
    return [(file, None) for file in files]


def _shards(reward: Reward, clips: Iterable[Clip], device: torch.device) -> list[Shard[Clip]]:
    identity = reward.registry.build_encoder(reward.encoder.name, device).identity

    def mark(clip: Clip) -> list[object]:
        status = clip[0].stat()
        return [str(clip[0]), status.st_size, status.st_mtime_ns, clip[1]]

    return work_shards(clips, mark, ["score", reward.name, reward.origin, identity])


@torch.no_grad()
def _judged(
    reward: Reward, shards: Sequence[Shard[Clip]], device: torch.device, *, skip_bad: bool
) -> tuple[list[Path], Tensor]:
    """Return the files of a set that could be judged, and their values or the value of the set.

    Raises:
        AudioError: some could not be judged, and are not to be skipped.
    """
    parts = list(results(shards, partial(part_of, reward=reward, cache=open_cache(), device=device), FORM, keep=True))
    clips = [shard.sources[row] for shard, part in zip(shards, parts, strict=True) for row in part.rows]
    bad = list(chain.from_iterable(part.faults for part in parts))
    if bad and not skip_bad:
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        lines = "".join(f"\n  {fault}" for fault in bad[:SHOWN])
        raise AudioError(f"{counted(len(bad), 'file')} cannot be judged; mend them or give --skip-bad:{lines}{more}")
    tell_left_out(bad, len(clips) + len(bad))
    if not clips:
        raise AudioError(f"none of {counted(len(bad), 'file')} can be used, see above; give others")
    reward.check_count(len(clips))
    return [path for path, _ in clips], _value(reward, clips, [part.tensors for part in parts if part.rows], device)


def _value(reward: Reward, clips: Sequence[Clip], kept: Sequence[dict[str, Tensor]], device: torch.device) -> Tensor:
    if _judges_alone(reward):
        return torch.cat([part["values"] for part in kept])
    if _takes_moments(reward):
        total = reduce(add, (Moments(part["mean"], part["scatter"], int(part["count"])) for part in kept))
        place = statistics_device(device)
        return reward.metric_of_moments(Moments(total.mean.to(place), total.scatter.to(place), total.count)).to(CPU)
    frames = [clip for part in kept for clip in part["frames"].to(device).split(part["lengths"].tolist())]
    name, needs_prompts = reward.encoder.name, reward.reduction.needs_prompts
    embedded = {name: torch.cat([part["prompts"] for part in kept]).to(device)} if needs_prompts else {}
    prompts = [str(prompt) for _, prompt in clips] if needs_prompts else None
    media = Encoded(EmbeddingStore({name: tuple(frames)}, embedded), [str(path) for path, _ in clips], prompts)
    return reward.metric(media).to(CPU)
