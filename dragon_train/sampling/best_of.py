"""Select at inference: of several clips for each prompt, keep the ones that a reward of clips or of sets likes best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.rewards import warn_of_cut_prompts
from dragon_rewards.scoring import build_parts
from dragon_train.loop.rollout import Stream, embedded, seeds
from dragon_train.loop.selection import better_of
from dragon_train.prompt_table import columns_of
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.protocols import Policy
    from dragon_train.sampling.clip_folder import ClipFolder


@dataclass(frozen=True)
class Best:
    """The chosen clips, one for each prompt, and what the choice gained.

    Attributes:
        chosen: the clips, in the order of the prompts.
        metric: the raw metric of each clip, (clips,), or under a reward of sets of the whole set, (1,).
        before: the metric of the first set that was made: the mean of its clips, or the metric of the set.
        after: the metric of the chosen clips, in the same form; never worse.
    """

    chosen: Generations
    metric: Tensor
    before: float
    after: float


@torch.no_grad()
def best_of(
    n: int,
    policy: Policy,
    reward: Reward,
    prompts: Sequence[str],
    *,
    steps: int,
    guidance: float,
    seed: int,
    on_set: Callable[[], object],
) -> Best:
    """Make n sets of one clip per prompt and keep the best clip of each prompt, or the best set of one clip each.

    A set is sampled and encoded at a time, and what is kept of it is latents and embeddings. Under a reward of sets the
    n sets are folded: from the first on, each further set gives the clips whose exchanges raise the reward, found as
    the trainer finds D+ (`metrics.select_positive`).

    Args:
        n: the number of sets.
        policy: the pipeline that samples.
        reward: the reward that chooses.
        prompts: one text for each clip of a set.
        steps: the number of diffusion steps.
        guidance: the strength of classifier-free guidance; 1 is none.
        seed: the number that the seeds of all clips are drawn from.
        on_set: is called after each set.

    Raises:
        TooFewClipsError: the reward needs more clips than there are prompts.
        DragonError: a part of the reward could not be built, which shows before anything is sampled, or failed.
    """
    reward.check_count(len(prompts))
    build_parts(reward, policy.pipeline.device)
    warn_of_cut_prompts([reward], prompts, policy.pipeline.device)

    def made(number: int) -> Generations:
        own = seeds(Stream.HELDOUT, seed, side=number, count=len(prompts))
        latents = policy.sample(prompts, own, steps, guidance)
        clips = embedded(policy, latents, prompts, [reward])
        on_set()
        return Generations(latents, clips, own)

    chosen = first = made(0)
    for number in range(1, n):
        chosen = better_of(reward, chosen, made(number))
    values = reward.metric(chosen.clips).cpu()
    return Best(chosen, values.reshape(-1), float(reward.metric(first.clips).mean()), float(values.mean()))


def write_best(policy: Policy, best: Best, out: ClipFolder) -> list[dict[str, Any]]:
    """Write one file per prompt and `prompts.csv`, as `dragon sample` does, with the values; return a row per clip."""
    chosen = best.chosen
    values = best.metric.expand(len(chosen.clips)).tolist()
    rows = [
        {"prompt": str(prompt), "seed": seed, "value": value, **columns_of(prompt)}
        for prompt, seed, value in zip(chosen.prompts, chosen.seeds, values, strict=True)
    ]
    return out.write(policy, chosen.latents, rows, out.numbers(len(rows)))
