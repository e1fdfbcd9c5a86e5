"""The adapter over diffusers' StableDiffusionPipeline, a pipeline of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from dragon_rewards import Images
from dragon_rewards.storage.files import replacing
from dragon_train import RecordedPolicy, VariancePreserving

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor


class StableDiffusionPolicy(RecordedPolicy):
    """The policy of a StableDiffusionPipeline, with latents (images, channels, height, width).

    A noise level is a whole timestep, drawn uniformly (arXiv 2112.10752). Images have the size that the denoiser was
    trained on, which is the pipeline's default.
    """

    component = "unet"
    inputs = ("sample", "timestep")

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline, VariancePreserving(pipeline.scheduler))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the RGB images (images, 3, height, width) in [0, 1] of latents, with the gradient of the latents."""
        with torch.set_grad_enabled(latents.requires_grad):
            return torch.cat([self._decode_batch(part) for part in torch.split(latents, self.batch)])

    def _decode_batch(self, latents: Tensor) -> Tensor:
        """Decode a batch as the pipeline does: the autoencoder's pixels lie in [-1, 1]."""
        pixels: Tensor = self.pipeline.vae.decode(latents / self.pipeline.vae.config.scaling_factor).sample
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
