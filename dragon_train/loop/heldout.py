"""Compare the policy with the untuned model on prompts kept from training, by rewards it is not tuned toward too.

`loop.loop` calls `start` before the first step and `Heldout.compare` after some of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.evaluation import matched_subsets, paired_wins
from dragon_train.loop.rollout import Stream, embedded, gathered, seeds
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
    from dragon_train.loop.learner import PolicyLearner

PARTS, ROUNDS = 4, 25  # rewards of sets are compared on random quarters of the prompts


@dataclass(frozen=True)
class Heldout:
    """A comparison of the policy with the untuned model that is made every few steps.

    Attributes:
        watched: the rewards that are not maximised.
        maximised: the rewards that are.
        prompts: the prompts of the comparison, which training never sees.
        reference: the untuned model's clips for them.
        config: the configuration of the run.
    """

    watched: Sequence[Reward]
    maximised: Sequence[Reward]
    prompts: Sequence[str]
    reference: Media
    config: TrainConfig

    def compare(self, learner: PolicyLearner) -> dict[str, float]:
        """Generate with the policy, and return the figures of what it made."""
        with learner.averaged():
            return self.figures(made(learner, self.prompts, self.config, (*self.watched, *self.maximised)))

    def figures(self, clips: Media) -> dict[str, float]:
        """Return the raw metric of both models and the win rate by each reward, and `heldout_win_rate`.

        The latter is the mean win rate by the rewards that are watched.

        Args:
            clips: the policy's, one for each prompt.
        """
        rewards = (*self.watched, *self.maximised)
        rates = {reward.name: self.win_rate(reward, clips) for reward in rewards}
        figures = {f"heldout {reward.name}": mean(reward, clips) for reward in rewards}
        figures |= {f"untuned {reward.name}": mean(reward, self.reference) for reward in rewards}
        figures |= {f"win rate {name}": rate for name, rate in rates.items()}
        if self.watched:
            figures["heldout_win_rate"] = sum(rates[reward.name] for reward in self.watched) / len(self.watched)
        return figures

    def win_rate(self, reward: Reward, clips: Media) -> float:
        """Return the share of clips or of subsets that the policy's clips win; ties are half."""
        if reward.kind.per_clip:
            before, after = reward.value(self.reference), reward.value(clips)
        else:
            size = max(len(clips) // PARTS, reward.reduction.minimum_clips)
            rows = torch.from_numpy(matched_subsets(len(clips), size, ROUNDS, self.config.seed))
            before, after = reward.subsets(self.reference)(rows), reward.subsets(clips)(rows)
        return float(paired_wins(before.double().cpu().numpy(), after.double().cpu().numpy()).mean())


def mean(reward: Reward, clips: Media) -> float:
    """Return the raw metric of a set of clips: the mean over them, or the value of the whole set."""
    return float(reward.metric(clips).double().mean())


def made(learner: PolicyLearner, prompts: Sequence[str], config: TrainConfig, rewards: Sequence[Reward]) -> Media:
    """Generate clips for the held-out prompts, always from the same seeds, and embed them for the rewards."""
    policy, processes = learner.policy, learner.processes
    numbers = seeds(Stream.HELDOUT, config.seed, count=len(prompts))
    shares = processes.share(prompts), processes.share(numbers)
    with processes.autocast():
        latents = policy.sample(*shares, config.demonstration_steps, config.guidance)
    clips = embedded(policy, latents, shares[0], rewards)
    return gathered(Generations(latents, clips, shares[1]), processes).clips


def start(
    learner: PolicyLearner, prompts: Sequence[str], watched: Sequence[Reward], maximised: Sequence[Reward]
) -> Heldout:
    """Let the untuned model generate the clips that the policy's will be compared with."""
    config = learner.config
    with torch.no_grad(), learner.tuning.reference():
        reference = made(learner, prompts, config, (*watched, *maximised))
    return Heldout(watched, maximised, prompts, reference, config)
