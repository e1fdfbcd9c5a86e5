"""Audio files from the best to the worst under any reward; under one of sets, by what each clip adds to its set."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import TooFewClipsError
from dragon_rewards.media.discovery import find_audio
from dragon_rewards.media.usable import usable
from dragon_rewards.scoring import judged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward

ROWS = 64  # subsets valued at once: their index rows are as long as the set
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
    """One row per audio file, the best first; equal files keep their order.

    Args:
        reward: what to rank by.
        paths: files and folders.
        table: prompts for rewards that need them; None for what lies beside the files.
        on_progress: is told how many further steps of how many are done; a file takes two.
        cache: where embeddings are kept for the next time.
        device: where clips are encoded and judged.
        skip_bad: whether files that no reward can judge are named on stderr and left out.

    Returns:
        Rows with `path`, `rank` (from 1), `value`, `of` (`metric`: the value is the clip's own; `leave-one-out`: that
        of the set less that of the set without the clip), `reward`, and `better`: whether higher or lower is.

    Raises:
        DragonError: as `score_files`; a reward of sets needs one clip more.
    """
    places = list(paths)
    files = usable(find_audio(places)) if skip_bad else find_audio(places)
    check_credits(reward, len(files))
    values = judged(reward, partial(credits_of, reward), files, table, places, on_progress, cache, device)
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
    """What each clip is worth, (clips,), higher is better: its own value, or what it adds to the set's.

    For a reward r of sets that is the leave-one-out difference r(S) - r(S less the clip), exact, in the units of r. The
    sum over the clips is not r(S).

    Raises:
        TooFewClipsError: a reward of sets, and without a clip fewer are left than it needs.
        DragonError: as the reward.
    """
    check_credits(reward, len(clips))
    with torch.no_grad():
        return reward.value(clips) if reward.kind.per_clip else _left_out(reward, clips)


def check_credits(reward: Reward, clips: int) -> None:
    """Raises TooFewClipsError if there are too few clips to tell what each is worth."""
    if reward.kind.per_clip:
        reward.check_count(clips)
    elif clips <= reward.reduction.minimum_clips:
        raise TooFewClipsError(
            f"'{reward.name}' judges at least {reward.reduction.minimum_clips} clips at once, so what one of them adds "
            f"takes at least {reward.reduction.minimum_clips + 1}, and there are {clips}; add clips"
        )


def _left_out(reward: Reward, clips: Media) -> Tensor:
    value, every = reward.subsets(clips), torch.arange(len(clips))
    without = [value(torch.stack([every[every != clip] for clip in some])) for some in every.split(ROWS)]
    return value(every.unsqueeze(0)) - torch.cat(without)
