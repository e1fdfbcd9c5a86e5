"""Generate several clips of each prompt, and credit each with its part of the reward.

`collect_groups` is the `collect` of objectives that learn from groups (`objectives.nft`): in a step of `loop.loop` it
asks `loop.rollout` for the clips, and `objectives.advantages` turns their credits into weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.media import Media
from dragon_rewards.protocols import RewardKind
from dragon_train.objectives.advantages import LARGEST, advantages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.objective_options import Advantage
    from dragon_train.protocols import Draw, Policy, Rollout


@dataclass(frozen=True)
class Group:
    """Clips with their advantages; a unit is a clip at one noise level.

    Attributes:
        latents: the latents of each unit, (units, ...).
        prompts: the prompt of each unit.
        advantage: the advantage of each unit in parts of the largest one, between -1 and 1, (units,).
        figures: `reward`, the mean over all clips; `best_reward`, what the best of each group have; and `tied`, the
            share of groups without any difference.
        noise: what was drawn for the gradient step.
    """

    latents: Tensor
    prompts: Sequence[str]
    advantage: Tensor
    figures: Mapping[str, float]
    noise: Draw | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Group:
        """Return the units that `rows`, a tensor of indices, names."""
        prompts, rows = [self.prompts[row] for row in rows.tolist()], rows.to(self.latents.device)
        noise = None if self.noise is None else self.noise.select(rows)
        advantage = self.advantage[rows]
        return replace(self, latents=self.latents[rows], prompts=prompts, advantage=advantage, noise=noise)

    def draw(self, policy: Policy, generator: torch.Generator) -> Group:
        """Return the same units with fresh noise, and levels that cover the range."""
        return replace(self, noise=policy.draw(self.latents, generator))


def collect_groups(rollout: Rollout, size: int, levels: int, rule: Advantage, tie: float) -> Group:
    """Let the previous policy generate groups of clips for the prompts of the step, and compare each with its group.

    Args:
        rollout: the step.
        size: the number of clips of each prompt.
        levels: the number of units that are made of each clip.
        rule: how advantages are measured.
        tie: the tie width of `rank` and `jury`.
    """
    with rollout.previous():
        sets = [rollout.generate() for _ in range(size)]
    with rollout.clock.phase("selecting"):
        clips = Media.concatenate([made.clips for made in sets])
        judges = rollout.reward.parts if rule == "jury" and rollout.reward.parts else (rollout.reward,)
        signs = rollout.reward.weights if len(judges) > 1 else (1.0,)
        values = [sign * credits_of(judge, clips) for judge, sign in zip(judges, signs, strict=True)]
        table = torch.stack(values).view(len(judges), size, -1).transpose(1, 2)  # (judges, prompts, size)
        advantage = advantages(table, rule, tie)
    units = (advantage / LARGEST).T.reshape(-1).repeat(levels)
    latents = torch.cat([made.latents for made in sets])
    prompts = [text for made in sets for text in made.prompts]
    figures = figures_of(table.sum(0), advantage)
    repeated = latents.repeat(levels, *[1] * (latents.ndim - 1))
    return Group(repeated, prompts * levels, units.to(latents), figures)


def figures_of(values: Tensor, advantage: Tensor) -> dict[str, float]:
    """Return what a step records of the values and the advantages of its clips, each (prompts, group)."""
    return {
        "reward": float(values.double().mean()),
        "best_reward": float(values.double().amax(1).mean()),
        "tied": float((advantage == 0).all(1).double().mean()),
    }


def credits_of(reward: AnyReward, clips: Media) -> Tensor:
    """Return what each clip adds to the reward, (clips,): its own value, or by leave-one-out of a reward of sets.

    Of a reward r that judges sets, clip i of n has the jackknife's pseudo-value (Tukey 1958), whose mean over the clips
    is r less the bias that the jackknife finds, and which is the clip's own value where r is a mean over clips:

        n r(all) - (n - 1) r(all but i)
    """
    if reward.kind is not RewardKind.DISTRIBUTION_TO_DISTRIBUTION:
        return reward.value(clips)
    count, value = len(clips), reward.subsets(clips)
    everything = torch.arange(count)
    others = everything.repeat(count, 1)[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    return count * value(everything[None]) - (count - 1) * value(others)
