"""What an objective works with in one step: it asks for generations, and they come judged by nobody yet."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch

from dragon_rewards.mixture import parts_of
from dragon_train.demonstrations import Generations, gathered
from dragon_train.seeds import Stream, seeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_rewards.media import Media
    from dragon_rewards.mixture import Mixture
    from dragon_rewards.rewards import Reward
    from dragon_train.clock import Clock
    from dragon_train.config import TrainConfig
    from dragon_train.pipelines.base import Policy
    from dragon_train.team import Team


class Studio:
    """One step: its prompts, its random numbers, and the policy's generations for it.

    Attributes:
        reward: what is maximised.
        config: the run's configuration.
        prompts: those of the step.
        pool: clips of earlier steps, with the embeddings that the reward asks for.
        generator: for random choices; the same in every process.
        clock: counts the time of the phases.
        made: the generations of the step so far.
    """

    def __init__(
        self,
        policy: Policy,
        reward: Reward | Mixture,
        config: TrainConfig,
        prompts: Sequence[str],
        step: int,
        pool: Sequence[Media],
        team: Team,
        clock: Clock,
    ) -> None:
        self.policy, self.reward, self.config, self.step, self.team = policy, reward, config, step, team
        self.prompts, self.pool, self.clock = prompts_of(prompts, config, step), pool, clock
        self.generator = torch.Generator().manual_seed(*seeds(Stream.NOISE, config.seed, step))
        self.made: list[Generations] = []

    def generate(self) -> Generations:
        """One more clip for each prompt of the step, with new seeds; each process makes its share, all get all."""
        config, side = self.config, len(self.made)
        own = seeds(Stream.GENERATIONS, config.seed, self.step, side, count=len(self.prompts))
        shares = self.team.share(self.prompts), self.team.share(own)
        with self.clock.phase("sampling"), self.team.autocast():
            latents = self.policy.sample(*shares, config.demonstration_steps, config.guidance)
        with self.clock.phase("decoding"):
            clips = self.policy.clips(latents, shares[0])
        with self.clock.phase("encoding"):
            for part in parts_of(self.reward):
                part.embeddings(clips)
        self.made.append(gathered(Generations(latents, clips, shares[1]), self.team))
        return self.made[-1]


def prompts_of(prompts: Sequence[str], config: TrainConfig, step: int) -> list[str]:
    """The next prompts of the list, round and round from a place that the seed chooses.

    In their order: a list that is balanced in every stretch gives balanced steps.
    """
    start = random.Random(config.seed).randrange(len(prompts)) + step * config.prompts_per_step
    return [prompts[(start + i) % len(prompts)] for i in range(config.prompts_per_step)]
