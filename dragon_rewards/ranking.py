"""Ranking of files, the best first: by their own values, or by what each file adds to the value of its set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import TooFewClipsError
from dragon_rewards.media.kinds import find_media, medium_of
from dragon_rewards.media.usable import damage_first, usable
from dragon_rewards.scoring import judged, needed_prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import AnyReward, Reward

ROWS = 64  # subsets valued at once, to bound memory: each index row is as long as the set
VALUE, LEFT_OUT = "metric", "leave-one-out"


def rank_files(
    reward: Reward,
    paths: Iterable[Path],
    table: Path | None,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None,
    device: torch.device,
    *,
    skip_bad: bool = False,
) -> list[dict[str, Any]]:
    """Rank files, the best first; files of equal value keep their order.

    Args:
        reward: the reward to rank by.
        paths: files and folders.
        table: a file of prompts, for rewards that need them; None for prompts that lie beside the files.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        cache: where embeddings are kept for the next time; None to keep none.
        device: where clips are encoded and judged.
        skip_bad: whether files that no reward can judge are named on stderr and left out.

    Returns:
        One row for each file, with `path`, `rank` (from 1), `value`, `of`, `reward`, and `better`, which says whether
        higher or lower is better. If `of` is `metric`, the value is the clip's own metric; if it is `leave-one-out`,
        the value is the metric of the set minus the metric of the set without the clip.

    Raises:
        DragonError: any of the errors of `score_files`; a reward of whole sets needs one clip more.
    """
    places = list(paths)
    medium, files = medium_of([reward.encoder]), find_media(places, [reward.encoder])
    if skip_bad:
        files = usable(files, medium)
    with damage_first(files, medium):
        check_credits(reward, len(files))
    prompts = needed_prompts(reward, files, table, places)
    values = judged(reward, partial(credits_of, reward), files, prompts, on_progress, cache, device)
    verdict = {"of": VALUE if reward.kind.per_clip else LEFT_OUT, "reward": reward.name}
    return [
        {
            "path": str(files[index]),
            "rank": rank,
            "value": reward.direction.sign * float(values[index]),
            **verdict,
            "better": str(reward.direction),
        }
        for rank, index in enumerate(values.argsort(descending=True, stable=True).tolist(), 1)
    ]


def credits_of(reward: Reward, clips: Media) -> Tensor:
    """Compute what each clip is worth, (clips,), of which higher is better: its own value, or what it adds to its set.

    For a reward r of whole sets S the worth of clip x is the exact leave-one-out difference, in the units of r:

        r(S) - r(S without x)

    The sum of the differences over the clips is not r(S). Objectives that learn from groups take the jackknife's
    pseudo-values instead, which are of the scale of r (`dragon_train.objectives.groups.pseudo_values`).

    Raises:
        TooFewClipsError: the reward judges whole sets, and a set without one clip is too small for it.
        DragonError: the reward cannot value the clips.
    """
    check_credits(reward, len(clips))
    with torch.no_grad():
        if reward.kind.per_clip:
            return reward.value(clips)
        whole, without = left_out(reward, clips)
        return whole - without


def check_credits(reward: Reward, clips: int) -> None:
    """Refuse a set of clips that is too small to tell what each of them is worth.

    Raises:
        TooFewClipsError: there are too few clips.
    """
    if reward.kind.per_clip:
        reward.check_count(clips)
    elif clips <= reward.reduction.minimum_clips:
        raise TooFewClipsError(
            f"'{reward.name}' judges at least {reward.reduction.minimum_clips} clips at once, so what one of them adds "
            f"takes at least {reward.reduction.minimum_clips + 1}, and there are {clips}; add clips"
        )


def left_out(reward: AnyReward, clips: Media) -> tuple[Tensor, Tensor]:
    """Return the value of a set of clips under a reward of sets, (1,), and its values without each clip, (clips,)."""
    value, every = reward.subsets(clips), torch.arange(len(clips))
    without = [value(torch.stack([every[every != clip] for clip in some])) for some in every.split(ROWS)]
    return value(every.unsqueeze(0)), torch.cat(without)
