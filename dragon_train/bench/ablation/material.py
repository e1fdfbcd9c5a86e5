"""Make what studies measure: clips of the untuned model, their embeddings, and what they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import ConfigError
from dragon_rewards.terminal.printable import counted
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.rollout import Stream, generate, seeds
from dragon_train.loop.tuning import load_policy
from dragon_train.prompts import EMBEDDED
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.metrics import Gaussian
    from dragon_rewards.rewards import Reward


@torch.no_grad()
def untuned_sets(sets: int, clips: int, steps: int, seed: int, device: torch.device) -> list[Media]:
    """Generate several sets of clips with the untuned embedded pipeline, without guidance.

    Args:
        sets: how many; they differ in their seeds alone.
        clips: of each set, one for each of the first training prompts.
        steps: diffusion steps.
        seed: of all generations.
        device: where to generate.

    Raises:
        ConfigError: there are fewer prompts than clips.
    """
    texts = prompts("train")[:clips]
    if len(texts) < clips:
        raise ConfigError(f"clips = {clips}: there are {counted(len(texts), 'prompt')}")
    policy = load_policy(load_train_registry().pipeline(EMBEDDED), None, device)
    numbers = [seeds(Stream.GENERATIONS, seed, side=side, count=clips) for side in range(sets)]
    return [generate(policy, texts, own, steps, guidance=1.0).clips for own in numbers]


def measured(reward: Reward, clips: Media) -> tuple[list[Tensor], Gaussian]:
    """Return the frames of each clip and the Gaussian that a FAD compares them with, on the CPU, where studies count.

    Args:
        reward: a reward of the FAD family, with an exemplar set.
        clips: what is embedded.

    Returns:
        Embeddings of each clip, (frames, dim), and the Gaussian of the exemplar set.
    """
    return list(reward.embeddings(clips).to(CPU).frames), cast("Gaussian", reward.reference(CPU))
