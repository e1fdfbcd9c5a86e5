"""The training loop of DRAGON (arXiv 2504.15217, algorithm 1), on any pipeline with any reward."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.demonstrations import choose, generate
from dragon_train.learner import Learner, make_tuning
from dragon_train.run import Run
from dragon_train.seeds import Stream, seeds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
    from dragon_train.demonstrations import Demonstrations, Generations
    from dragon_train.objectives import Objective
    from dragon_train.pipelines.base import Policy

CLIP_NORM = 1.0


def train(
    config: TrainConfig,
    policy: Policy,
    reward: Reward,
    objective: Objective,
    prompts: Sequence[str],
    out: Path,
    on_step: Callable[[dict[str, float]], None],
) -> None:
    """Tune `policy` in place toward `reward`; continues from the checkpoint in `out` if there is one.

    Every random draw is a function of (seed, step), so a resumed run equals an uninterrupted one.
    """
    if len(prompts) < config.prompts_per_step:
        raise ConfigError(f"prompts_per_step = {config.prompts_per_step}: there are only {len(prompts)} prompts")
    torch.manual_seed(config.seed)  # initial values of LoRA adapters
    tuning = make_tuning(policy, config.tuning, config.lora_rank)
    optimiser = torch.optim.AdamW(tuning.parameters, config.learning_rate, weight_decay=0.0)
    learner = Learner(policy, tuning)
    run = Run(config, out)
    first, pool = run.resume(policy, tuning, optimiser)

    for step in range(first, config.steps):
        started = time.monotonic()
        generator = torch.Generator().manual_seed(*seeds(Stream.NOISE, config.seed, step))
        batch = prompts_of(prompts, config, step)
        a, b = (sample_set(policy, batch, config, step, side) for side in (0, 1))
        sampled = time.monotonic()
        demos = choose(reward, a, b, [g.clips for g in pool], config, generator)
        selected = time.monotonic()
        parts = minibatches(demos, config, generator)
        losses = [learn(learner, objective, part, optimiser, generator) for part in parts]
        pool.extend([a, b])
        row = {
            "step": step + 1,
            "reward": demos.reward,
            "positive_reward": demos.positive_reward,
            "loss": sum(losses) / len(losses),
            "sampling_s": sampled - started,
            "selecting_s": selected - sampled,
            "learning_s": time.monotonic() - selected,
        }
        run.record(row, tuning, optimiser, pool)
        on_step(row)
    run.finish(tuning)


def prompts_of(prompts: Sequence[str], config: TrainConfig, step: int) -> list[str]:
    """The next prompts of the list, round and round from a place that the seed chooses.

    In their order: a list that is balanced in every stretch gives balanced steps.
    """
    start = random.Random(config.seed).randrange(len(prompts)) + step * config.prompts_per_step
    return [prompts[(start + i) % len(prompts)] for i in range(config.prompts_per_step)]


def sample_set(policy: Policy, prompts: Sequence[str], config: TrainConfig, step: int, side: int) -> Generations:
    """The generations of one set: seeds differ between sets, steps and runs."""
    own = seeds(Stream.GENERATIONS, config.seed, step, side, count=len(prompts))
    return generate(policy, prompts, own, config.demonstration_steps, config.guidance)


def minibatches(demos: Demonstrations, config: TrainConfig, generator: torch.Generator) -> Iterator[Demonstrations]:
    """The pairs in random order, in equal parts of at most `minibatch`, `epochs` times."""
    pairs = len(demos.positive)
    for _ in range(config.epochs):
        order = torch.randperm(pairs, generator=generator)
        for rows in order.tensor_split(math.ceil(pairs / config.minibatch)):
            yield demos.pairs(rows)


def learn(
    learner: Learner,
    objective: Objective,
    demonstrations: Demonstrations,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    """One gradient step; returns the loss."""
    loss = objective(learner, demonstrations, generator)
    if not loss.isfinite():
        raise DragonError(f"the loss became {loss.item()}; lower learning_rate or beta and resume from the last step")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.tuning.parameters, CLIP_NORM)
    optimiser.step()
    return float(loss.detach())
