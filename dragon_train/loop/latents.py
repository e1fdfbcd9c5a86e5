"""Give rewards what they judge in a step: latents where the encoder reads these, decoded clips where it has to hear.

An encoder that is the pipeline's own autoencoder would make of the decoded clips the latents that they were decoded
from (`LatentPolicy.latent_reader`). What people hear is judged by the audio in any case: held-out clips, samples and
benchmarks do not come by here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.media.media import EmbeddingStore, Encoded, check_output, explained
from dragon_train.protocols import LatentPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward
    from dragon_train.protocols import Policy


def clips_for(rewards: Sequence[Reward], policy: Policy, latents: Tensor, prompts: Sequence[str]) -> Media:
    """Return clips that these rewards can judge, with the frames that are read from latents; gradient flows to these.

    The clips are decoded unless every encoder reads latents.

    Args:
        rewards: what will judge the clips; of stand-ins for a reward there are none, and the clips are decoded.
        policy: the pipeline that sampled the latents.
        latents: one clip per prompt, (clips, ...).
        prompts: one text per clip.

    Raises:
        EncoderError: an encoder makes frames of latents that are not finite or of another shape than it promises.
    """
    frames = {reward.encoder.name: frames_of(reward, policy, latents) for reward in rewards}
    known = {name: found for name, found in frames.items() if found is not None}
    if frames and len(known) == len(frames):
        return Encoded(EmbeddingStore(known, {}), [f"clip {index}" for index in range(len(prompts))], prompts)
    clips = policy.clips(latents, prompts)
    clips.known.frames.update(known)
    return clips


def frames_of(reward: Reward, policy: Policy, latents: Tensor) -> tuple[Tensor, ...] | None:
    """Return the frames (frames, dim) of each clip that the reward's encoder reads from latents; None if it does not.

    They are laid out in memory as those of encoded clips are, so that sums over them round alike.
    """
    read, name = reader(reward, policy, latents.device), reward.encoder.name
    if read is None:
        return None
    with explained(name, "latents", latents.device):
        frames = read(latents)
        shape = (len(latents), *frames.shape[1:2], reward.encoder.dim)
    check_output(frames, shape, name, "latents")
    return tuple(frames.clone(memory_format=torch.contiguous_format))


def reader(reward: Reward, policy: Policy, device: torch.device) -> Callable[[Tensor], Tensor] | None:
    """Return what makes frames of latents for the reward's encoder; None where it has to hear the decoded clips."""
    if not isinstance(policy, LatentPolicy):
        return None
    return policy.latent_reader(reward.registry.build_encoder(reward.encoder.name, device))


def encoders_of_latents(rewards: Sequence[Reward], policy: Policy, device: torch.device) -> list[str]:
    """Return the names of the rewards' encoders that read latents, in order."""
    return sorted({reward.encoder.name for reward in rewards if reader(reward, policy, device) is not None})
