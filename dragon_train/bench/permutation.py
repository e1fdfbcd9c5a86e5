"""Permutation tests of tuned models under rewards of whole sets: their clips are exchanged with the untuned model's."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import torch
from msgspec import Meta, Struct

from dragon_rewards import compose
from dragon_rewards.compute.devices import find_device
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import Change, permutation_test, set_change
from dragon_rewards.media.media import EmbeddingStore, Encoded, Media
from dragon_rewards.storage.decoding import read_json
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.tensor_files import read_tensors, write_tensors
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.result_files import EMBEDDINGS, TEST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.rewards import Reward

FRAMES, LENGTHS, PROMPTS = "frames", "lengths", "prompts"
AXES = ("frames", "dim")
AGAIN = "delete it and scores.parquet beside it, and the same command makes them again"


class Tested(Struct, frozen=True):
    """The part of a permutation test's record that is read again.

    Attributes:
        p_value: in (0, 1].
        metric: the raw metric of both models, with intervals; None where sets of half the clips are too small for the
            reward, and in records from before there were intervals.
    """

    p_value: Annotated[float, Meta(gt=0, le=1)]
    metric: Change | None = None


def keep_embeddings(folder: Path, clips: Media, rewards: Sequence[Reward]) -> None:
    """Write the embeddings of a model's clips, as these rewards see them, and remove the test of earlier clips.

    For each encoder, the file holds the frames of all clips, (frames, dim), how many each clip has, (clips,), and the
    embedded prompts, (clips, dim), where the encoder has embedded them.
    """
    for reward in rewards:
        reward.embeddings(clips)
    tensors = {}
    for encoder in {reward.encoder.name for reward in rewards}:
        frames = clips.known.frames[encoder]
        tensors[f"{FRAMES} {encoder}"] = torch.cat(frames).cpu()
        tensors[f"{LENGTHS} {encoder}"] = torch.tensor([len(clip) for clip in frames])
        if encoder in clips.known.prompts:
            tensors[f"{PROMPTS} {encoder}"] = clips.known.prompts[encoder].cpu()
    (folder / TEST).unlink(missing_ok=True)
    if tensors:
        write_tensors(folder / EMBEDDINGS, tensors, {})


def read_embeddings(folder: Path, prompts: Sequence[str], device: torch.device) -> Encoded:
    """Read what `keep_embeddings` wrote, as clips without their audio.

    Args:
        folder: of the model.
        prompts: of the clips, one each.
        device: where the embeddings are to be.

    Raises:
        DragonError: the file is missing, broken, or of another number of clips.
    """
    tensors, _ = read_tensors(folder / EMBEDDINGS, AGAIN)
    held = {name: tensor.to(device) for name, tensor in tensors.items()}
    by_kind = {kind: _of_kind(held, kind) for kind in (FRAMES, LENGTHS, PROMPTS)}
    for name, rows in by_kind[FRAMES].items():
        if not _fits(rows, by_kind[LENGTHS].get(name), by_kind[PROMPTS].get(name), len(prompts)):
            raise DragonError(f"'{folder / EMBEDDINGS}': '{name}' is not of {counted(len(prompts), 'clip')}; {AGAIN}")
    frames = {name: rows.split(by_kind[LENGTHS][name].tolist()) for name, rows in by_kind[FRAMES].items()}
    return Encoded(
        EmbeddingStore(frames, by_kind[PROMPTS]), [f"clip {index}" for index in range(len(prompts))], prompts
    )


def _fits(rows: Tensor, lengths: Tensor | None, prompts: Tensor | None, clips: int) -> bool:
    """Tell whether these are frames (frames, dim) of so many clips, with one embedded prompt (dim) for each, if any."""
    if lengths is None or lengths.dtype != torch.int64 or lengths.shape != (clips,) or rows.ndim != len(AXES):
        return False
    if prompts is not None and prompts.shape != (clips, rows.shape[1]):
        return False
    return bool((lengths >= 1).all()) and int(lengths.sum()) == len(rows)


def _of_kind(held: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Return the tensors of one kind, by the encoder that made them."""
    return {name.removeprefix(f"{kind} "): rows for name, rows in held.items() if name.startswith(f"{kind} ")}


def run_test(folder: Path, baseline: str, reward: str, prompts: Sequence[str], device: str | None) -> None:
    """Test a run against the untuned model, and write the test and the change of the metric to the folder of the run.

    Args:
        folder: of the run, with the embeddings that `keep_embeddings` wrote.
        baseline: name of the folder of the untuned model, beside the run's.
        reward: name of the reward of whole sets under which they are compared.
        prompts: of the clips of either model, one each.
        device: where to compute, as `find_device` takes it.
    """
    where, folders = find_device(device), (folder.parent / baseline, folder)
    clips, judge = Media.concatenate([read_embeddings(each, prompts, where) for each in folders]), compose(reward)
    found = {**asdict(permutation_test(judge.subsets(clips), len(prompts))), "metric": metric_of(judge, clips)}
    write_text(folder / TEST, json.dumps(found, indent=2) + "\n")


def metric_of(reward: Reward, clips: Media) -> dict[str, Any] | None:
    """Return the fields of the `Change` of a reward's metric; None if half the clips of a model are too few for it.

    Args:
        reward: of whole sets.
        clips: of the untuned model, and then as many of the tuned one.
    """
    pairs, values = len(clips) // 2, reward.subsets(clips)
    if pairs // 2 < reward.reduction.minimum_clips:
        return None
    return asdict(set_change(lambda rows: reward.direction.sign * values(rows), pairs))


def read_test(folder: Path) -> Tested | None:
    """Read the permutation test of a run; None if it was not tested.

    Raises:
        DragonError: the record of the test is broken.
    """
    path = folder / TEST
    return read_json(path, Tested, AGAIN) if path.exists() else None
