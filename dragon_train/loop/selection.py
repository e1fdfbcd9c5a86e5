"""Keep the better of several generations of each prompt, as `objectives.raft` and best-of-n sampling do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.media import Media
from dragon_rewards.metrics import select_pairs, select_positive
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from dragon_rewards.rewards import AnyReward

PASSES = 4  # of single exchanges after the leap: selection ends when none helps, and most end before


def better_of(reward: AnyReward, held: Generations, other: Generations) -> Generations:
    """Return the better clip of each prompt of two sets, or a set of one clip per prompt that is no worse than both."""
    clips, pairs = Media.concatenate([held.clips, other.clips]), len(held.clips)
    if reward.kind.per_clip:
        rows = select_pairs(*reward.value(clips).split(pairs)).positive.cpu()
    else:
        rows = select_positive(pairs, reward.subsets(clips), max_passes=PASSES).positive
    numbers = [*held.seeds, *other.seeds]
    latents = torch.cat([held.latents, other.latents])[rows.to(held.latents.device)]
    return Generations(latents, clips.select(rows), [numbers[row] for row in rows.tolist()])
