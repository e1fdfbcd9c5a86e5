"""Adapt diffusers' StableAudio3Pipeline: rectified flow (Stable Audio 3, arXiv 2605.17991)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_train.pipelines.columns import STABLE_AUDIO_3
from dragon_train.pipelines.lengths import check_seconds
from dragon_train.pipelines.noise import FlowMatching
from dragon_train.pipelines.recorded import AudioPolicy

if TYPE_CHECKING:
    from diffusers import StableAudio3Pipeline
    from torch import Tensor

SECONDS = 10.0  # the pipeline's default
TRUNCATION = 0.075


def truncated_logit_normal(u: Tensor) -> Tensor:
    """Map uniform numbers to the times that stable-audio-3 trains on: its `trunc_logit_normal`.

    1 - t is logit-normal, cut off below `TRUNCATION` and stretched over (0, 1). The shift by length that its trainer
    applies on top is not in a diffusers checkpoint, and left out.
    """
    least = torch.special.ndtr(torch.tensor(TRUNCATION).logit())
    remaining: Tensor = torch.special.ndtri(least + (1 - least) * (1 - u)).sigmoid()
    return 1 - (remaining - TRUNCATION) / (1 - TRUNCATION)


class StableAudio3Policy(AudioPolicy):
    """The policy over a Stable Audio 3 pipeline; a noise level is a time in (0, 1).

    The post-trained checkpoints take 8 steps without guidance, which they were distilled to. The base checkpoints,
    which are trained, take a guidance of 7, as docs/workflows/inference.md of stable-audio-3 has it.
    """

    columns = STABLE_AUDIO_3

    # Query, key and value are one layer (self-attention), or key and value are (cross-attention).
    lora_targets = ("to_qkv", "to_q", "to_kv", "to_out")

    def __init__(self, pipeline: StableAudio3Pipeline, seconds: float = SECONDS) -> None:
        self.longest = pipeline.duration_embedder.config.max_val
        check_seconds(seconds, self.longest)
        noise = FlowMatching(truncated_logit_normal, pipeline.scheduler.config.num_train_timesteps)
        super().__init__(pipeline, noise, int(pipeline.vae.config.sampling_rate), seconds, duration=seconds)
        self.post_trained = bool(pipeline.scheduler.config.get("stochastic_sampling"))
        self.steps, self.guidance = (8, 1.0) if self.post_trained else (25, 7.0)

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode latents into audio that is cut to length and clipped to [-1, 1], as the pipeline does."""
        return super().decode_batch(latents)[..., : int(self.seconds * self.sample_rate)].clamp(-1, 1)
