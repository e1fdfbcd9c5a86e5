"""Noise processes of diffusion models: what the denoiser sees at a level, and what it was trained to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from dragon_train.protocols import Draw

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class DenoisingTarget:
    """What the denoiser is asked.

    Attributes:
        sample: its noisy input, in the shape of the latents.
        time: its time argument, (clips,).
        target: its answer, were it perfect, in the shape of the latents.
    """

    sample: Tensor
    time: Tensor
    target: Tensor


class Noise(Protocol):
    """A way to noise latents, and the parameterisation that goes with it."""

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Noise and levels as in the model's training."""
        ...

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Latents noised as drawn."""
        ...


def quantiles(count: int, generator: torch.Generator) -> Tensor:
    """One uniform number from each of `count` equal parts of (0, 1), in random order.

    Levels that cover the range in every batch lower the variance of the gradient (2107.00630, section I.1).
    """
    shuffled = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (shuffled / count).clamp(1e-6, 1 - 1e-6)


def gaussian(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Unit noise in the shape of `latents`, drawn where the generator is: the same on every device."""
    return torch.randn(latents.shape, generator=generator).to(latents)


def per_clip(level: Tensor, latents: Tensor) -> Tensor:
    """(clips,) -> (clips, 1, ...), to multiply latents."""
    return level.view(-1, *[1] * (latents.ndim - 1))


@dataclass(frozen=True)
class EDM:
    """EDM preconditioning with the prediction of a pipeline's scheduler (Karras et al., 2206.00364); level is sigma.

    Log sigma is normal with this mean and deviation (2206.00364, table 1).
    """

    scheduler: Any
    mean: float
    deviation: float

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Log-normal sigmas and unit noise."""
        noise = gaussian(latents, generator)
        level = self.mean + self.deviation * torch.special.ndtri(quantiles(len(latents), generator))
        return Draw(noise, level.exp().to(latents))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """With s = sigma_data: x = latents + sigma noise; the network sees x / sqrt(sigma^2 + s^2).

        The target is what makes the scheduler's `precondition_outputs` give the latents back; for v-prediction
        (sigma latents - s^2 noise) / (s sqrt(sigma^2 + s^2)), up to the sign that the scheduler fixes.
        """
        sigma = per_clip(draw.level, latents)
        noisy = latents + sigma * draw.noise
        skip = self.scheduler.precondition_outputs(noisy, torch.zeros_like(noisy), sigma)
        c_out = self.scheduler.precondition_outputs(torch.zeros_like(noisy), torch.ones_like(noisy), sigma)
        return DenoisingTarget(
            self.scheduler.precondition_inputs(noisy, sigma),
            self.scheduler.precondition_noise(draw.level),
            (latents - skip) / c_out,
        )


def uniform(u: Tensor) -> Tensor:
    """Quantiles of the uniform distribution on (0, 1)."""
    return u


@dataclass(frozen=True)
class LogitNormal:
    """Quantiles of times whose logit is normal (2403.03206, section 3.1)."""

    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        """Numbers in (0, 1) -> times in (0, 1)."""
        times: Tensor = (self.mean + self.deviation * torch.special.ndtri(u)).sigmoid()
        return times


@dataclass(frozen=True)
class FlowMatching:
    """Rectified flow (2209.03003); level is the time t in (0, 1], 1 is noise.

    Attributes:
        times: quantiles of the times in training.
        scale: the network is told `scale` * t.
        from_noise: whether the network counts from the noise: it is told `scale` * (1 - t) instead, and answers
            latents - noise instead of noise - latents.
    """

    times: Callable[[Tensor], Tensor] = LogitNormal()
    scale: float = 1.0
    from_noise: bool = False

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Times as in training and unit noise."""
        noise = gaussian(latents, generator)
        return Draw(noise, self.times(quantiles(len(latents), generator)).to(latents))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Linear in between: x = (1 - t) latents + t noise."""
        t = per_clip(draw.level, latents)
        noisy, velocity = (1 - t) * latents + t * draw.noise, draw.noise - latents
        if self.from_noise:
            return DenoisingTarget(noisy, self.scale * (1 - draw.level), -velocity)
        return DenoisingTarget(noisy, self.scale * draw.level, velocity)


@dataclass(frozen=True)
class VariancePreserving:
    """The discrete process of DDPM (2006.11239) as a pipeline's scheduler has it; level is a whole timestep.

    The target is what the scheduler's `prediction_type` says: noise, latents, or v (2202.00512).
    """

    scheduler: Any

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Uniform timesteps and unit noise."""
        noise = gaussian(latents, generator)
        level = (quantiles(len(latents), generator) * self.scheduler.config.num_train_timesteps).long()
        return Draw(noise, level.to(latents.device))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """With a the cumulative product of alphas: x = sqrt(a) latents + sqrt(1 - a) noise."""
        a = per_clip(self.scheduler.alphas_cumprod.to(latents)[draw.level], latents)
        noisy = a.sqrt() * latents + (1 - a).sqrt() * draw.noise
        targets = {
            "epsilon": draw.noise,
            "sample": latents,
            "v_prediction": a.sqrt() * draw.noise - (1 - a).sqrt() * latents,
        }
        return DenoisingTarget(noisy, draw.level, targets[self.scheduler.config.prediction_type])
