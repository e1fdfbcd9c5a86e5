"""Scoring of files; what can be checked without decoding them is checked before anything is encoded."""

from __future__ import annotations

from itertools import chain, starmap
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.compute.devices import statistics_device
from dragon_rewards.encoding import EncodingJob, Files, encode_files, encode_in_parts, lengths
from dragon_rewards.media.kinds import find_media, medium_of
from dragon_rewards.media.prompts import prompts_of
from dragon_rewards.media.usable import damage_first, usable
from dragon_rewards.metrics.frames import in_order
from dragon_rewards.protocols import Modality
from dragon_rewards.rewards import warn_of_cut_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward


def score_files(
    reward: Reward,
    paths: Iterable[Path],
    table: Path | None,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None,
    device: torch.device,
    *,
    skip_bad: bool = False,
) -> list[dict[str, Any]]:
    """Compute the raw metric of files and of all files in folders: a row for each file, or one for each set.

    They are audio or images, as the encoder takes.

    For kinds that judge sets, each of several folders is a set; where files are named, too, all are one.

    Args:
        reward: the reward to score with.
        paths: files and folders.
        table: a file of prompts, for rewards that need them; None for prompts that lie beside the files.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        cache: where embeddings are kept for the next time; None to keep none.
        device: where clips are encoded and judged.
        skip_bad: whether files that no reward can judge are named on stderr and left out.

    Returns:
        Rows with `path` (for kinds that judge clips, and where there are several sets) and `clips` (the number of
        clips, for kinds that judge sets), `reward`, `value`, and `better`, which says whether higher or lower is
        better.

    Raises:
        AudioError: a path is missing, a folder has no audio, a file is not audio, or no reward can judge it.
        ImageError: the same of images, where the encoder takes them.
        TooFewClipsError: the reward needs more clips.
        MissingPromptsError: the reward needs prompts, and a file has none.
        TableError: a table of prompts cannot be read.
        DeviceError: a clip is too large for the memory of the device.
    """
    places = list(paths)
    sets = [places] if reward.kind.per_clip else sets_of(places)
    found = _found(reward, sets, skip_bad=skip_bad)
    prompts = [needed_prompts(reward, files, table, each) for each, files in zip(sets, found, strict=True)]
    steps, rows = 2 * sum(map(len, found)), list[dict[str, Any]]()

    def advance(further: int, _steps_of_this_set: int) -> None:
        on_progress(further, steps)

    for each, files, texts in zip(sets, found, prompts, strict=True):
        values = judged(reward, reward.metric, files, texts, advance, cache, device)
        own = {"path": str(each[0])} if len(sets) > 1 else {}
        rows += rows_of(reward, files, values, own)
    return rows


def _found(reward: Reward, sets: Sequence[Sequence[Path]], *, skip_bad: bool) -> list[list[Path]]:
    """Return the files of each set; what can be told without decoding them is refused before the first is encoded."""
    medium = medium_of([reward.encoder])
    found = [find_media(each, [reward.encoder]) for each in sets]
    if skip_bad:
        found = [usable(files, medium) for files in found]
    for files in found:
        with damage_first(files, medium):
            reward.check_count(len(files))
    if len(found) > 1 and medium is Modality.AUDIO:
        lengths(list(chain.from_iterable(found)))
    return found


def needed_prompts(
    reward: Reward, files: Sequence[Path], table: Path | None, places: Sequence[Path]
) -> list[str] | None:
    """Return the prompts of files, as `prompts_of` finds them; None for a reward that needs none."""
    return prompts_of(files, table, places) if reward.reduction.needs_prompts else None


def rows_of(reward: Reward, files: Sequence[Path], values: Tensor, own: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each file, or one for the set of all files, which is named by `own`."""
    verdict = {"reward": reward.name, "better": str(reward.direction)}
    if not reward.kind.per_clip:
        return [{**own, "clips": len(files), "value": float(values), **verdict}]
    return [{"path": str(file), "value": value, **verdict} for file, value in zip(files, values.tolist(), strict=True)]


def sets_of(places: Sequence[Path]) -> list[list[Path]]:
    """Return the places of each set: every folder by itself, unless a file is among them."""
    if all(place.is_dir() for place in places):
        return [[place] for place in dict.fromkeys(places)]
    return [list(places)]


@torch.no_grad()
def judged(
    reward: Reward,
    judge: Callable[[Media], Tensor],
    paths: Sequence[Path],
    prompts: Sequence[str] | None,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None,
    device: torch.device,
) -> Tensor:
    """Encode files and return what `judge` makes of them, in their order; raises as `score_files`.

    A reward that judges clips is asked for each long file separately, whose frames are then released.

    Args:
        reward: the reward whose encoder is used.
        judge: computes a tensor of values from encoded files.
        paths: the files.
        prompts: one text for each file; None for a reward that needs none.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        cache: where embeddings are kept for the next time; None to keep none.
        device: where clips are encoded and judged.
    """
    build_parts(reward, device)
    warn_of_cut_prompts([reward], prompts or (), device)
    steps = 2 * len(paths)
    job, files = EncodingJob([reward], device, cache, lambda done: on_progress(done, steps)), Files(paths, prompts)
    if not reward.kind.per_clip or reward.reduction.minimum_clips > 1:
        return judge(encode_files(job, files))
    parts = starmap(lambda rows, clips: (rows, judge(clips)), encode_in_parts(job, files))  # keeps no clips
    rows, values = zip(*parts, strict=True)
    return in_order(values, rows)


def build_parts(reward: Reward, device: torch.device) -> None:
    """Build the reward's parts now, so that a part that cannot be built is reported before the clips are encoded.

    Raises:
        DragonError: a part cannot be built.
    """
    place = statistics_device(device)
    reward.registry.build_encoder(reward.encoder.name, device)
    reward.registry.build_reduction(reward.reduction.name, place)
    reward.reference(place)
