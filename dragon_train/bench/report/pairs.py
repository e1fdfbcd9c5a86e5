"""Make pairs of clips by the untuned and the tuned model, from the same prompts and seeds, and judge them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.images import Images
from dragon_rewards.ranking import LEFT_OUT, VALUE, credits_of
from dragon_train.bench.report.media import PageClip, PageImage, page_media
from dragon_train.loop.rollout import generate
from dragon_train.loop.tuning import load_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.bench.report.paired_comparisons import Generation, PairedComparison


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


def make_pairs(
    comparisons: Sequence[PairedComparison], device: torch.device, on_set: Callable[[], object]
) -> dict[str, list[Pair]]:
    """Make and judge the pairs of each comparison; runs with the same `Generation.key` share the untuned clips.

    Args:
        comparisons: what the pairs are made from.
        device: where they are made and judged.
        on_set: is called after each set of clips that a model made.

    Returns:
        The pairs by the name of the run, in the order of the prompts.

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
    policy = load_policy(generation.info, weights, device)
    made = generate(policy, generation.prompts, generation.seeds, *generation.settings(policy)).clips
    if not isinstance(made, Clips | Images):
        what = f"pipeline '{generation.info.name}' makes {made.noun}s"
        raise ConfigError(f"{what}, and the page shows audio and images; add --pairs 0")
    return made


def judged(comparison: PairedComparison, before: Clips | Images, after: Clips | Images) -> list[Pair]:
    """Return the pairs of one run in the order of the prompts, judged by each of its rewards."""
    judgements = [judge(reward, before, after) for reward in comparison.rewards]
    carried, given = [page_media(media) for media in (before, after)], comparison.generation
    rows = zip(given.prompts, given.seeds, *carried, zip(*judgements, strict=True), strict=True)
    return [Pair(*row) for row in rows]


def judge(reward: Reward, before: Clips | Images, after: Clips | Images) -> list[Judgement]:
    """Return what one reward says of each pair, in their order."""
    of, sign = VALUE if reward.kind.per_clip else LEFT_OUT, reward.direction.sign
    values: list[Tensor] = [credits_of(reward, clips).double().cpu() for clips in (before, after)]
    rows = zip(*(value.tolist() for value in values), strict=True)
    return [Judgement(reward.name, of, sign * old, sign * new, new - old) for old, new in rows]
