"""Scores of several groups at once: all of their clips go through the encoder together, and each group is judged alone.

Each group gets the scores that it would get alone, except for rounding, as frames of a clip depend on the rest of a
batch by rounding at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING

import torch

from dragon_rewards.encoding import join_windows
from dragon_rewards.media.media import Media
from dragon_rewards.media.on_device import examples_on
from dragon_rewards.ranking import credits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Encoded
    from dragon_rewards.protocols import Modality
    from dragon_rewards.reward_server.groups import Clip
    from dragon_rewards.rewards import Reward


@dataclass(frozen=True)
class Scores:
    """The scores of a group.

    Attributes:
        scores: one number for each clip, of which higher is better: its value, or for a reward of whole sets what the
            clip adds to the group, see `ranking.credits_of`. None if the group has no more clips than such a reward
            needs.
        metric: the raw metric, as `dragon score` prints it: of each clip, or of the whole group.
    """

    scores: list[float] | None
    metric: list[float] | float


@torch.no_grad()
def judge(
    reward: Reward, modality: Modality, device: torch.device, groups: Sequence[Sequence[Clip]]
) -> list[Scores | Exception]:
    """Score groups; a group that fails gets its error, and the others get their scores.

    Args:
        reward: the reward that judges.
        modality: whether the groups are audio or images.
        device: where they are encoded and judged.
        groups: one group or more.
    """
    try:
        return list(_judged(reward, modality, device, groups))
    except Exception as error:  # noqa: BLE001  any error is an answer
        if len(groups) == 1:
            return [error]
        return [found for group in groups for found in judge(reward, modality, device, [group])]


def _judged(
    reward: Reward, modality: Modality, device: torch.device, groups: Sequence[Sequence[Clip]]
) -> Iterator[Scores]:
    clips = _encoded(reward, modality, device, list(chain.from_iterable(groups)))
    places = _places(map(len, groups))
    if reward.kind.per_clip and reward.reduction.minimum_clips == 1:  # clips of all groups can be judged at once
        metric = reward.metric(clips)
        yield from (_of_clips(reward, metric[start:end]) for start, end in places)
    else:
        yield from (_of_group(reward, clips.select(range(*place))) for place in places)


def _of_group(reward: Reward, clips: Media) -> Scores:
    metric = reward.metric(clips)
    if reward.kind.per_clip:
        return _of_clips(reward, metric)
    enough = len(clips) > reward.reduction.minimum_clips
    return Scores(credits_of(reward, clips).tolist() if enough else None, float(metric))


def _of_clips(reward: Reward, metric: Tensor) -> Scores:
    return Scores((reward.direction.sign * metric).tolist(), metric.tolist())


def _places(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Return where each of several parts begins and ends, one after another."""
    return pairwise(accumulate(sizes, initial=0))


def _encoded(reward: Reward, modality: Modality, device: torch.device, clips: Sequence[Clip]) -> Encoded:
    """Encode all windows of all clips at once, and return the clips with their embeddings."""
    media = _media(modality, device, [(clip, window) for clip in clips for window in clip.windows], reward)
    reward.embeddings(media)
    windows = media.without_media()
    places = _places(len(clip.windows) for clip in clips)
    return Media.concatenate([join_windows([windows.select(range(*place))]) for place in places])


def _media(modality: Modality, device: torch.device, windows: Sequence[tuple[Clip, Tensor]], reward: Reward) -> Media:
    names, prompts = [clip.name for clip, _ in windows], [clip.prompt for clip, _ in windows]
    tensors = [tensor for _, tensor in windows]
    return examples_on(modality, device, tensors, reward.encoder.sample_rate, names, prompts, None)
