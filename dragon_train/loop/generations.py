"""Make on-policy generations: one clip for each prompt, decoded and encoded a batch at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.embeddings import EmbeddingStore
from dragon_rewards.media.media import Encoded, Media
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from dragon_rewards.rewards import Reward
    from dragon_train.loop.processes import Processes
    from dragon_train.protocols import Policy


def suggested(policy: Policy, steps: int, guidance: float) -> tuple[int, float]:
    """Return diffusion steps and guidance, where 0 stands for what the pipeline suggests."""
    return steps or policy.steps, guidance or policy.guidance


def generate(policy: Policy, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Generations:
    """Sample and decode one clip per prompt.

    Args:
        policy: the pipeline that samples.
        prompts: one text per clip.
        seeds: one number per clip.
        steps: the number of diffusion steps.
        guidance: the strength of classifier-free guidance; 1 is none.
    """
    latents = policy.sample(prompts, seeds, steps, guidance)
    return Generations(latents, policy.clips(latents, prompts), seeds)


def embedded(policy: Policy, latents: Tensor, prompts: Sequence[str], rewards: Sequence[Reward]) -> Media:
    """Decode latents and compute the embeddings that rewards ask for; no more media than a batch are held at once.

    Args:
        policy: the pipeline that decodes.
        latents: one clip per prompt, (clips, ...).
        prompts: one text per clip.
        rewards: the rewards whose encoders embed the clips.

    Returns:
        The clips without their media, with the embeddings.
    """
    parts: list[Media] = []
    for start in range(0, len(prompts), policy.batch):
        batch = slice(start, start + policy.batch)
        clips = policy.clips(latents[batch], prompts[batch])
        for reward in rewards:
            reward.embeddings(clips)
        parts.append(clips.without_media())
    return Media.concatenate(parts)


def gathered(own: Generations, processes: Processes) -> Generations:
    """Join the shares of all processes into one set, without its media: embeddings are what rewards judge."""
    if processes.size == 1:
        return replace(own, clips=own.clips.without_media())
    known = own.clips.without_media().known
    frames = {encoder: [clip.cpu() for clip in clips] for encoder, clips in known.frames.items()}
    prompts = {encoder: embedded.cpu() for encoder, embedded in known.prompts.items()}
    shares = processes.gather((own.latents.cpu(), frames, prompts, list(own.prompts), list(own.seeds)))
    return Generations(
        torch.cat([share[0] for share in shares]).to(own.latents),
        Media.concatenate([rebuilt(*share[1:4], own.latents.device) for share in shares]),
        [seed for share in shares for seed in share[4]],
    )


def rebuilt(
    frames: Mapping[str, Sequence[Tensor]], embedded: Mapping[str, Tensor], prompts: Sequence[str], device: torch.device
) -> Encoded:
    """Make clips of their embeddings and their prompts, without media.

    Args:
        frames: by the name of the encoder, for each clip its frames, (frames, dim).
        embedded: by the name of the encoder, the embeddings of the prompts, (clips, dim).
        prompts: one text per clip.
        device: where the embeddings are put.
    """
    known = EmbeddingStore(
        {encoder: tuple(clip.to(device) for clip in clips) for encoder, clips in frames.items()},
        {encoder: rows.to(device) for encoder, rows in embedded.items()},
    )
    return Encoded(known, [f"clip {index}" for index in range(len(prompts))], prompts)
