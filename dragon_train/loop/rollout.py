"""Generate the clips of one step: an objective asks for them, and chooses among them itself.

`loop.loop` makes a `StepRollout` for each step and gives it to the objective's `collect`, which calls `generate` once
for each set of clips that it wants. Clips are sampled by the policy, then decoded and embedded by the encoders of the
reward, on a GPU while the next batch is sampled. What an objective does with them is in `loop.selection`.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.media import Media
from dragon_train.loop.generations import gathered
from dragon_train.loop.seeds import Stream, seeds
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig
    from dragon_train.loop.context import Context


class StepRollout:
    """One step: its prompts, its random numbers, and the policy's generations for it.

    Attributes:
        context: what all steps of the run share.
        reward: the reward that is maximised.
        config: the configuration of the run.
        step: the number of the step, from 0.
        prompts: the prompts of the step.
        pool: the clips of earlier steps, with the embeddings that the reward asks for.
        generator: the source of random choices, in the same state in every process.
        clock: counts the time of the phases.
        made: the sets of clips that were generated in this step so far.
    """

    def __init__(self, context: Context, reward: AnyReward, step: int, pool: Sequence[Media]) -> None:
        config = context.config
        self.context, self.reward, self.config, self.step, self.pool = context, reward, config, step, pool
        self.prompts, self.clock = prompts_of(context.prompts, config, step), context.clock
        self.generator = torch.Generator().manual_seed(*seeds(Stream.NOISE, config.seed, step))
        self.made: list[Generations] = []

    def generate(self) -> Generations:
        """Generate one more clip for each prompt, with new seeds; each process makes its share, and all get all."""
        processes, batch = self.context.processes, self.context.policy.batch
        numbers = seeds(Stream.GENERATIONS, self.config.seed, self.step, len(self.made), count=len(self.prompts))
        texts, own = processes.share(self.prompts), processes.share(numbers)
        latents, waiting = [], []
        for start in range(0, len(texts), batch):
            part = slice(start, start + batch)
            latents.append(self.sampled(texts[part], own[part]))
            waiting.append(self.context.background.start(partial(self.embedded, latents[-1], texts[part])))
        with self.clock.phase("encoding"):
            clips = [embedded() for embedded in waiting]
        share = Generations(torch.cat(latents), Media.concatenate(clips), own)
        self.made.append(gathered(share, processes))
        return self.made[-1]

    def sampled(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """Sample the latents of one batch of clips, (clips, ...)."""
        with self.clock.phase("sampling"), self.context.processes.autocast():
            config = self.config
            return self.context.policy.sample(prompts, seeds, config.demonstration_steps, config.guidance)

    def embedded(self, latents: Tensor, prompts: Sequence[str]) -> Media:
        """Decode a batch of clips and compute the embeddings that the reward asks for.

        The media, which nothing asks for any more, are let go.
        """
        with self.clock.phase("decoding"):
            clips = self.context.policy.clips(latents, prompts)
        with self.clock.phase("encoding"):
            for part in self.reward.parts:
                part.embeddings(clips)
        return clips.without_media()


def prompts_of(prompts: Sequence[str], config: TrainConfig, step: int) -> list[str]:
    """Return the prompts of a step: the next ones of the list, round and round from a place that the seed chooses.

    They come in their order: a list that is balanced in every stretch gives balanced steps.
    """
    start = random.Random(config.seed).randrange(len(prompts)) + step * config.prompts_per_step
    return [prompts[(start + i) % len(prompts)] for i in range(config.prompts_per_step)]
