"""Direct backpropagation of a differentiable reward through the last sampling steps (DRaFT-K, arXiv 2309.17400)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from dragon_train.fields import check_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Learner, Policy, Rollout


@dataclass(frozen=True)
class Starts:
    """Where generations start: a prompt and a seed each.

    Attributes:
        prompts: one for each clip.
        seeds: likewise.
        reward: what is maximised in this step.
        figures: `reward`, of the clips as the policy makes them before it learns.
    """

    prompts: Sequence[str]
    seeds: Sequence[int]
    reward: AnyReward
    figures: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.prompts)

    def select(self, rows: Tensor) -> Starts:
        """These alone."""
        chosen = rows.tolist()
        return replace(self, prompts=[self.prompts[i] for i in chosen], seeds=[self.seeds[i] for i in chosen])

    def draw(self, policy: Policy, generator: torch.Generator) -> Starts:  # noqa: ARG002  the seeds are the noise
        """The same: a start is generated from anew, not noised."""
        return self


@dataclass(frozen=True)
class DirectReward:
    """loss = -r(x), with gradient through the decoder and the last `gradient_steps` calls of the denoiser.

    A reward that judges sets judges those that are in memory together (a microbatch, in one process).
    """

    gradient_steps: Annotated[int, Meta(ge=1, le=10**4)]

    def __post_init__(self) -> None:
        check_fields(self, "options.")

    def collect(self, rollout: Rollout) -> Starts:
        """Prompts and seeds, and what the policy makes of them now."""
        made = rollout.generate()
        with rollout.clock.phase("selecting"):
            value = float(rollout.reward.value(made.clips).double().mean())
        return Starts(rollout.prompts, made.seeds, rollout.reward, {"reward": value})

    def losses(self, learner: Learner, experience: Starts) -> Tensor:
        """Of each start."""
        policy, config, prompts = learner.policy, learner.config, experience.prompts
        steps, guidance = config.demonstration_steps, config.guidance
        latents = policy.sample(prompts, experience.seeds, steps, guidance, self.gradient_steps)
        return -experience.reward.value(policy.clips(latents, prompts)).expand(len(prompts))


def direct(config: TrainConfig) -> DirectReward:
    """As configured.

    Raises:
        ConfigError: `options.gradient_steps` is no whole number from 1 on.
    """
    options: Any = config.options
    return DirectReward(**options)
