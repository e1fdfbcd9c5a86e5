"""Make pairs of clips by the untuned and the tuned model, from the same prompts and seeds, and judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.images import Images
from dragon_rewards.ranking import LEFT_OUT, VALUE, credits_of
from dragon_train.bench.report.media import PageClip, PageImage, page_media
from dragon_train.bench.report.paired_change import PairedChange, paired_change
from dragon_train.loop.rollout import generate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.paired_comparisons import Generation, PairedComparison

    Sides = tuple[Clips | Images, Clips | Images]


@dataclass(frozen=True)
class Judgement:
    """The values that a reward gives to the two clips of a pair.

    Attributes:
        reward: its name.
        of: `metric`, if the values are the clips' own, or `leave-one-out`, if a value is what the whole set has more
            than the set without the clip.
        before: raw value of the untuned model's clip.
        after: raw value of the tuned model's clip.
        improvement: the change from one to the other, positive where it is for the better.
    """

    reward: str
    of: str
    before: float
    after: float
    improvement: float


@dataclass(frozen=True)
class Pair:
    """Two clips, or images, that the untuned and the tuned model made of one prompt and one seed."""

    prompt: str
    seed: int
    before: PageClip | PageImage
    after: PageClip | PageImage
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class PairSet:
    """The pairs of a run.

    Attributes:
        pairs: in the order of the prompts.
        changes: how each reward that judges them changed over all of them.
    """

    pairs: tuple[Pair, ...]
    changes: tuple[PairedChange, ...]


def make_pairs(
    comparisons: Sequence[PairedComparison], device: torch.device, on_set: Callable[[], object]
) -> dict[str, PairSet]:
    """Make and judge the pairs of each comparison; runs with the same `Generation.key` share the untuned clips.

    Args:
        comparisons: what the pairs are made from.
        device: where they are made and judged.
        on_set: is called after each set of clips that a model made.

    Returns:
        The pairs by the name of the run.

    Raises:
        ConfigError: a pipeline makes neither audio nor images.
    """
    untuned: dict[tuple[object, ...], Clips | Images] = {}
    for each in comparisons:
        if each.generation.key not in untuned:
            untuned[each.generation.key] = sampled(each.generation, None, device)
            on_set()
    made = {}
    for each in comparisons:
        tuned = sampled(each.generation, each.run.folder, device)
        made[each.run.name] = judged(each, untuned[each.generation.key], tuned)
        on_set()
    return made


def sampled(generation: Generation, weights: Path | None, device: torch.device) -> Clips | Images:
    """Generate the clips with the untuned model, or with the model whose weights are in a folder.

    Raises:
        ConfigError: the pipeline makes neither audio nor images.
    """
    policy = generation.load(weights, device)
    made = generate(policy, generation.prompts, generation.seeds, *generation.settings(policy)).clips
    if not isinstance(made, Clips | Images):
        what = f"pipeline '{generation.info.name}' makes {made.noun}s"
        raise ConfigError(f"{what}, and the page shows audio and images; add --pairs 0")
    return made


def judged(comparison: PairedComparison, before: Clips | Images, after: Clips | Images) -> PairSet:
    """Return the pairs of one run in the order of the prompts, judged by each of its rewards."""
    verdicts = [judge(reward, before, after) for reward in comparison.rewards]
    carried, given = [page_media(media) for media in (before, after)], comparison.generation
    by_pair = zip(*(judgements for judgements, _ in verdicts), strict=True)
    rows = zip(given.prompts, given.seeds, *carried, by_pair, strict=True)
    return PairSet(tuple(Pair(*row) for row in rows), tuple(change for _, change in verdicts))


def judge(reward: Reward, before: Clips | Images, after: Clips | Images) -> tuple[list[Judgement], PairedChange]:
    """Return what one reward says of each pair, in their order, and of all of them."""
    of, sign = VALUE if reward.kind.per_clip else LEFT_OUT, reward.direction.sign
    values: list[Tensor] = [credits_of(reward, clips).double().cpu() for clips in (before, after)]
    rows = zip(*(value.tolist() for value in values), strict=True)
    judgements = [Judgement(reward.name, of, sign * old, sign * new, new - old) for old, new in rows]
    return judgements, change_of(reward, (before, after), (sign * values[0], sign * values[1]))


def change_of(reward: Reward, sides: Sides, values: tuple[Tensor, Tensor]) -> PairedChange:
    """Return how a reward changed over all pairs: the mean of their changes, or the change of the set's value.

    Args:
        reward: which judges them.
        sides: what the untuned and the tuned model made.
        values: for each side, the clips' own raw metrics, or what each of them adds to the metric of its set, (pairs,).
    """
    changes, others = values[1] - values[0], max(len(values[0]) - 1, 1)
    if reward.kind.per_clip:
        old, new = (float(side.mean()) for side in values)
        without = (changes.sum() - changes) / others
    else:
        with torch.no_grad():
            old, new = (float(reward.metric(side).double()) for side in sides)
        without = new - old - changes
    return paired_change(old, new, without.tolist(), reward.direction.sign)
