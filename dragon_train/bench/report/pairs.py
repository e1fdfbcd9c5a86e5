"""What the untuned and the tuned model make of the same prompts and seeds, and what a reward says of each pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.images import Images
from dragon_rewards.ranking import LEFT_OUT, VALUE, credits_of
from dragon_train.bench.report.media import PageClip, PageImage, page_media
from dragon_train.loop.generations import generate
from dragon_train.loop.run import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.contents import Generation, Plan


@dataclass(frozen=True)
class Judgement:
    """What a reward says of a pair.

    Attributes:
        reward: its name.
        of: `metric`, the clip's own value, or `leave-one-out`, that of the set less that of the set without the clip.
        before: of the untuned model's clip; raw.
        after: of the tuned model's.
        improvement: from one to the other, higher is better.
    """

    reward: str
    of: str
    before: float
    after: float
    improvement: float


@dataclass(frozen=True)
class Pair:
    """Two clips, or images, of one prompt and seed."""

    prompt: str
    seed: int
    before: PageClip | PageImage
    after: PageClip | PageImage
    judgements: tuple[Judgement, ...]


def make_pairs(plans: Sequence[Plan], device: torch.device, on_set: Callable[[], object]) -> dict[str, list[Pair]]:
    """Run -> its pairs, made and judged on a device. `on_set` is called after each set of clips that a model made."""
    untuned: dict[tuple[object, ...], Clips | Images] = {}
    for each in plans:
        if each.generation.key not in untuned:
            untuned[each.generation.key] = sampled(each.generation, None, device)
            on_set()
    made = {}
    for each in plans:
        tuned = sampled(each.generation, each.run.folder, device)
        made[each.run.name] = judged(each, untuned[each.generation.key], tuned)
        on_set()
    return made


def sampled(generation: Generation, weights: Path | None, device: torch.device) -> Clips | Images:
    """What the untuned model makes, or the one with these weights.

    Raises:
        ConfigError: it is neither audio nor images.
    """
    policy = load_policy(generation.info, weights, device)
    made = generate(policy, generation.prompts, generation.seeds, *generation.settings(policy)).clips
    if not isinstance(made, Clips | Images):
        what = f"pipeline '{generation.info.name}' makes {made.noun}s"
        raise ConfigError(f"{what}, and the page shows audio and images; add --pairs 0")
    return made


def judged(plan: Plan, before: Clips | Images, after: Clips | Images) -> list[Pair]:
    """The pairs in the order of the prompts."""
    judgements = [judge(reward, before, after) for reward in plan.rewards]
    carried, given = [page_media(media) for media in (before, after)], plan.generation
    rows = zip(given.prompts, given.seeds, *carried, zip(*judgements, strict=True), strict=True)
    return [Pair(*row) for row in rows]


def judge(reward: Reward, before: Clips | Images, after: Clips | Images) -> list[Judgement]:
    """One for each pair."""
    of, sign = VALUE if reward.kind.per_clip else LEFT_OUT, reward.direction.sign
    values: list[Tensor] = [credits_of(reward, clips).double().cpu() for clips in (before, after)]
    rows = zip(*(value.tolist() for value in values), strict=True)
    return [Judgement(reward.name, of, sign * old, sign * new, new - old) for old, new in rows]
