"""Score audio files: all that can be refused is refused before anything is encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.audio import find_audio, read_audio, resample, to_mono
from dragon_rewards.clips import BATCH, Clips
from dragon_rewards.prompts import prompts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from dragon_rewards.cache import EmbeddingCache
    from dragon_rewards.rewards import Reward


def score_files(
    reward: Reward,
    paths: Iterable[Path],
    table: Path | None,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None = None,
) -> list[dict[str, Any]]:
    """Raw metric of audio files, and of all audio in folders: one row per file, or one for the set.

    Args:
        reward: what to score with.
        paths: files and folders.
        table: prompts for rewards that need them; None for the `prompts.csv` beside the files.
        on_progress: is told how many further steps of how many are done; a file takes two.
        cache: where embeddings are kept for the next time.

    Returns:
        Rows with `path` (kinds that judge clips) or `clips` (their number, for kinds that judge sets), `reward`,
        `value`, and `better`: whether higher or lower is.

    Raises:
        AudioError: a path is missing, a folder has no audio, a file is not audio, or no reward can judge it.
        TooFewClipsError: the reward needs more clips.
        MissingPromptsError: the reward needs prompts, and a file has none.
    """
    files = find_audio(paths)
    reward.check_count(len(files))
    clips = encode_files(reward, files, table, on_progress, cache)
    with torch.no_grad():
        values = reward.metric(clips)
    verdict = {"reward": reward.name, "better": str(reward.direction)}
    if not reward.kind.per_clip:
        return [{"clips": len(files), "value": float(values), **verdict}]
    return [{"path": str(file), "value": value, **verdict} for file, value in zip(files, values.tolist(), strict=True)]


def encode_files(
    reward: Reward,
    files: Sequence[Path],
    table: Path | None,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None = None,
) -> Clips:
    """The clips of audio files, in their order, with the embeddings that the reward judges; raises as `score_files`."""
    prompts = prompts_of(files, table) if reward.reduction.needs_prompts else None
    clips = read_clips(files, prompts, reward.encoder.sample_rate, lambda: on_progress(1, 2 * len(files)), cache)
    build_parts(reward)
    return encoded(reward, clips, lambda done: on_progress(done, 2 * len(files)))


def read_clips(
    files: Sequence[Path],
    prompts: Sequence[str] | None,
    rate: int,
    on_read: Callable[[], None],
    cache: EmbeddingCache | None,
) -> Clips:
    """All files as checked mono clips at the encoder's rate, which is all that any encoder sees of them."""
    audio = []
    for file in files:
        clip, source = read_audio(file)
        audio.append(resample(to_mono(clip), source, rate))
        on_read()
    return Clips(audio, rate, prompts, [str(file) for file in files], cache)


def build_parts(reward: Reward) -> None:
    """Build the reward's parts now, so that one that cannot be built is refused before the clips are encoded."""
    reward.registry.build_encoder(reward.encoder.name)
    reward.registry.build_reduction(reward.reduction.name)
    reward.reference(torch.device("cpu"))


def encoded(reward: Reward, clips: Clips, on_clips: Callable[[int], None]) -> Clips:
    """The clips with their embeddings; the shortest go first, so that one too short is refused before the long work."""
    order = sorted(range(len(clips)), key=lambda index: clips.audio[index].shape[-1])
    parts = [clips.select(order[start : start + BATCH]) for start in range(0, len(order), BATCH)]
    for part in parts:
        reward.embeddings(part)
        on_clips(len(part))
    return Clips.concatenate(parts).select(sorted(range(len(order)), key=order.__getitem__))
