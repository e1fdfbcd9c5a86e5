"""The adapters over diffusers' StableDiffusionPipeline and StableDiffusion3Pipeline, which make images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from dragon_rewards import Images
from dragon_rewards.storage.files import replacing
from dragon_train import FlowMatching, RecordedPolicy, VariancePreserving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


COLUMNS = {"negative_prompt": "negative_prompt"}  # of a table of prompts


class StableDiffusionPolicy(RecordedPolicy):
    """The policy of a StableDiffusionPipeline, with latents (images, channels, height, width).

    A noise level is a whole timestep, drawn uniformly (arXiv 2112.10752). Images have the size that the denoiser was
    trained on, which is the pipeline's default.
    """

    component = "unet"
    inputs = ("sample", "timestep")
    columns = COLUMNS

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline, VariancePreserving(pipeline.scheduler))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the RGB images (images, 3, height, width) in [0, 1] of latents, with the gradient of the latents."""
        with torch.set_grad_enabled(latents.requires_grad):
            return torch.cat([self._decode_batch(part) for part in torch.split(latents, self.batch)])

    def _decode_batch(self, latents: Tensor) -> Tensor:
        """Decode a batch as the pipeline does: the autoencoder's pixels lie in [-1, 1]."""
        settings = self.pipeline.vae.config
        shifted = latents / settings.scaling_factor + (settings.shift_factor or 0)
        pixels: Tensor = self.pipeline.vae.decode(shifted).sample
        return (pixels / 2 + 0.5).clamp(0, 1)

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Images:
        """Decode latents, and return the images with their prompts."""
        return Images(self.decode(latents), prompts)

    def write(self, latents: Tensor, stem: Path) -> Path:
        """Write one image's latents as a PNG file, and return its path: `stem` with the suffix `.png`."""
        path = stem.with_suffix(".png")
        pixels = (self.decode(latents[None])[0] * 255).round().byte()
        with replacing(path) as temporary:
            Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy()).save(temporary, "PNG")
        return path


class StableDiffusion3Policy(StableDiffusionPolicy):
    """The policy of a StableDiffusion3Pipeline: a rectified flow (arXiv 2403.03206), whose levels are times in (0, 1).

    Times of training are logit-normal with mean 0 and deviation 1, which section 5.1 of the paper found best.
    Adapters are put on the projections of both streams, images and text, of the joint attention.
    """

    component = "transformer"
    inputs = ("hidden_states", "timestep")
    lora_targets = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    guidance = 7.0  # the pipeline's default

    def __init__(self, pipeline: Any) -> None:
        RecordedPolicy.__init__(self, pipeline, FlowMatching(scale=pipeline.scheduler.config.num_train_timesteps))
