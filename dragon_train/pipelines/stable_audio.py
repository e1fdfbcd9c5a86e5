"""Adapter over diffusers' StableAudioPipeline: EDM preconditioning with v-prediction (Karras et al., 2206.00364)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed

from dragon_train.pipelines.base import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffusers import StableAudioPipeline
    from torch import Tensor, nn

LEVEL_MEAN, LEVEL_DEVIATION = -0.4, 1.4  # of log sigma, over the range in which data of deviation 1 takes shape
BATCH = 32


class StableAudioPolicy:
    """What the trainer needs from an unmodified StableAudioPipeline; a noise level is an EDM sigma."""

    lora_targets = ("to_q", "to_k", "to_v", "to_out.0")

    def __init__(self, pipeline: StableAudioPipeline) -> None:
        self.pipeline = pipeline
        self.pipeline.set_progress_bar_config(disable=True)
        self.pipeline.text_encoder.requires_grad_(False)
        self.pipeline.projection_model.requires_grad_(False)
        self.pipeline.vae.requires_grad_(False)
        self.sample_rate = int(pipeline.vae.config.sampling_rate)
        self.seconds = pipeline.transformer.config.sample_size * pipeline.vae.hop_length / self.sample_rate

    @property
    def denoiser(self) -> nn.Module:
        """The diffusion transformer."""
        network: nn.Module = self.pipeline.transformer
        return network

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None:
        self.pipeline.transformer = network

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        """Latents (clips, channels, frames) of one clip per prompt."""
        parts = [
            self.pipeline(
                list(prompts[i : i + BATCH]),
                audio_end_in_s=self.seconds,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[i : i + BATCH]],
                output_type="latent",
            ).audios
            for i in range(0, len(prompts), BATCH)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> audio (clips, channels, samples)."""
        return torch.cat([self.pipeline.vae.decode(part).sample for part in torch.split(latents, BATCH)])

    def condition(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Cross-attention and global states, exactly as the pipeline's own call makes them without guidance."""
        device = self.denoiser_device
        text = self.pipeline.encode_prompt(list(prompts), device, do_classifier_free_guidance=False)
        start, end = self.pipeline.encode_duration(0.0, self.seconds, device, False, len(prompts))
        return {
            "encoder_hidden_states": torch.cat([text, start, end], dim=1),
            "global_hidden_states": torch.cat([start, end], dim=2),
        }

    @property
    def denoiser_device(self) -> torch.device:
        """Where the denoiser's weights are."""
        return next(self.denoiser.parameters()).device

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Log-normal sigmas (2206.00364, table 1), one from each quantile of the batch, and unit noise.

        Levels that cover the range in every batch lower the variance of the gradient (2107.00630, section I.1).
        """
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        count = len(latents)
        quantile = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        level = LEVEL_MEAN + LEVEL_DEVIATION * torch.special.ndtri(quantile.clamp(1e-6, 1 - 1e-6))
        return Draw(noise, level.exp().to(latents))

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Tensor], draw: Draw) -> Tensor:
        """Mean squared error of v, (clips,).

        With s = sigma_data: x = latents + sigma noise; v = (sigma latents - s^2 noise) / (s sqrt(sigma^2 + s^2)), up
        to the sign that the scheduler's `precondition_outputs` fixes; the network sees x / sqrt(sigma^2 + s^2).
        """
        scheduler = self.pipeline.scheduler
        sigma = draw.level.view(-1, 1, 1)
        noisy = latents + sigma * draw.noise
        skip = scheduler.precondition_outputs(noisy, torch.zeros_like(noisy), sigma)
        c_out = scheduler.precondition_outputs(torch.zeros_like(noisy), torch.ones_like(noisy), sigma)
        predicted = self.denoiser(
            scheduler.precondition_inputs(noisy, sigma),
            scheduler.precondition_noise(draw.level),
            **condition,
            rotary_embedding=self.rotary(latents.shape[2] + 1),
            return_dict=False,
        )[0]
        error: Tensor = predicted - (latents - skip) / c_out
        return error.square().flatten(1).mean(1)

    def rotary(self, length: int) -> tuple[Tensor, Tensor]:
        """The pipeline's rotary embedding, over the latents and one global token."""
        cos, sin = get_1d_rotary_pos_embed(
            self.pipeline.rotary_embed_dim, length, use_real=True, repeat_interleave_real=False
        )
        return cos.to(self.denoiser_device), sin.to(self.denoiser_device)
