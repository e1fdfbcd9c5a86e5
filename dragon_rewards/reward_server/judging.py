"""Scores of several groups at once: all of their clips go through the encoder together, and each is judged by itself.

Scores are those of each group alone, except for rounding, as frames of a clip depend on the rest of a batch by rounding
at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from typing import TYPE_CHECKING

import torch

from dragon_rewards.encoding import join_windows
from dragon_rewards.media.clips import clips_on
from dragon_rewards.media.images import Images
from dragon_rewards.media.media import Media
from dragon_rewards.protocols import Modality
from dragon_rewards.ranking import credits_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Encoded
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
        media = list(_encoded(reward, modality, device, groups))
    except Exception as error:  # noqa: BLE001  any error is an answer
        if len(groups) == 1:
            return [error]
        return list(chain.from_iterable(judge(reward, modality, device, [group]) for group in groups))
    return [_scores(reward, each) for each in media]


def _encoded(
    reward: Reward, modality: Modality, device: torch.device, groups: Sequence[Sequence[Clip]]
) -> Iterator[Encoded]:
    """Encode all windows of all groups at once, and yield the clips of each group with their embeddings."""
    clips = list(chain.from_iterable(groups))
    media = _media(modality, device, [(clip, window) for clip in clips for window in clip.windows], reward)
    reward.embeddings(media)
    encoded = media.without_media()
    places = pairwise(accumulate((len(clip.windows) for clip in clips), initial=0))
    joined = (join_windows([encoded.select(range(*place))]) for place in places)
    for group in groups:
        yield Media.concatenate(list(islice(joined, len(group))))


def _media(modality: Modality, device: torch.device, windows: Sequence[tuple[Clip, Tensor]], reward: Reward) -> Media:
    names, prompts = [clip.name for clip, _ in windows], [clip.prompt for clip, _ in windows]
    tensors = [tensor for _, tensor in windows]
    if modality is Modality.AUDIO:
        return clips_on(device, tensors, reward.encoder.sample_rate, names, prompts, None)
    return Images([tensor.to(device) for tensor in tensors], prompts, names)


def _scores(reward: Reward, clips: Media) -> Scores | Exception:
    try:
        metric = reward.metric(clips)
        if reward.kind.per_clip:
            return Scores((reward.direction.sign * metric).tolist(), metric.tolist())
        enough = len(clips) > reward.reduction.minimum_clips
        return Scores(credits_of(reward, clips).tolist() if enough else None, float(metric))
    except Exception as error:  # noqa: BLE001  any error is an answer
        return error
