"""Define the noise processes of diffusion models: what the denoiser sees at a level, and what it learnt to answer.

A pipeline's adapter (`pipelines.recorded`) holds the process that its model was trained on; from it come the noise of a
gradient step and the denoising error, on which the losses of `dragon_train.objectives` rest.
"""

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
    """A question to the denoiser with its right answer.

    Attributes:
        sample: its noisy input, in the shape of the latents.
        time: its time argument, (clips,).
        target: the answer of a perfect denoiser, in the shape of the latents; of tokens the tokens.
        slope: what the clean latents that an answer amounts to change by with it, (clips, 1, ...).
    """

    sample: Tensor
    time: Tensor
    target: Tensor
    slope: Tensor

    def of(self, clip: int) -> DenoisingTarget:
        """Return the question about one of the clips, as a batch of one."""
        return DenoisingTarget(*(part[clip, None] for part in (self.sample, self.time, self.target, self.slope)))


class Noise(Protocol):
    """A way to add noise to latents, and the parameterisation of the denoiser that goes with it."""

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw unit noise and one level per clip, as in the model's training."""
        ...

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Return latents noised as drawn, with the time and the answer that belong to them."""
        ...

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha and sigma of levels (clips,), both (clips,): noisy latents are alpha latents + sigma noise."""
        ...

    def grid(self, scheduler: Any) -> Tensor:
        """Return the levels of the steps that a scheduler was set to, (steps,), from the noisiest on."""
        ...


def quantiles(count: int, generator: torch.Generator) -> Tensor:
    """Draw one uniform number from each of `count` equal parts of (0, 1), in random order.

    Levels that cover the range in every batch lower the variance of the gradient (arXiv 2107.00630, section I.1).
    """
    shuffled = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (shuffled / count).clamp(1e-6, 1 - 1e-6)


def gaussian(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Draw unit Gaussian noise in the shape of `latents`, where the generator is: it is the same on every device."""
    return torch.randn(latents.shape, generator=generator).to(latents)


def per_clip(level: Tensor, latents: Tensor) -> Tensor:
    """Reshape one number per clip, (clips,), to (clips, 1, ...), so that it multiplies latents."""
    return level.view(-1, *[1] * (latents.ndim - 1))


@dataclass(frozen=True)
class EDM:
    """EDM preconditioning with the prediction of a pipeline's scheduler (Karras et al., arXiv 2206.00364).

    A noise level is sigma, the standard deviation of the noise; log sigma is normal (arXiv 2206.00364, table 1).

    Attributes:
        scheduler: the scheduler of the pipeline, which has the preconditioning.
        mean: the mean of log sigma.
        deviation: the standard deviation of log sigma.
    """

    scheduler: Any
    mean: float
    deviation: float

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw log-normal sigmas, (clips,), and unit noise."""
        noise = gaussian(latents, generator)
        level = self.mean + self.deviation * torch.special.ndtri(quantiles(len(latents), generator))
        return Draw(noise, level.exp().to(latents))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Return the preconditioned input and target of the denoiser at the drawn sigmas.

        The noisy latents, with s = sigma_data, and what the network sees of them:

            x = latents + sigma noise,    input = x / sqrt(sigma^2 + s^2)

        The target is what makes the scheduler's `precondition_outputs` give the latents back; for v-prediction, up to
        the sign that the scheduler fixes:

            target = (sigma latents - s^2 noise) / (s sqrt(sigma^2 + s^2))
        """
        sigma = per_clip(draw.level, latents)
        noisy = latents + sigma * draw.noise
        skip = self.scheduler.precondition_outputs(noisy, torch.zeros_like(noisy), sigma)
        c_out = self.scheduler.precondition_outputs(torch.zeros_like(noisy), torch.ones_like(noisy), sigma)
        return DenoisingTarget(
            self.scheduler.precondition_inputs(noisy, sigma),
            self.scheduler.precondition_noise(draw.level),
            (latents - skip) / c_out,
            c_out[:, *[slice(1)] * (latents.ndim - 1)],
        )

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 and sigma: the noise is added to latents that are left as they are."""
        return torch.ones_like(level), level

    def grid(self, scheduler: Any) -> Tensor:
        """Return the sigmas of the scheduler, without the last one, which is none."""
        sigmas: Tensor = scheduler.sigmas[: len(scheduler.timesteps)]
        return sigmas


def uniform(u: Tensor) -> Tensor:
    """Map quantiles to a uniform distribution of times on (0, 1): return them as they are."""
    return u


@dataclass(frozen=True)
class LogitNormal:
    """The distribution of times whose logit is normal (arXiv 2403.03206, section 3.1), by its quantile function.

    Attributes:
        mean: the mean of the logit.
        deviation: the standard deviation of the logit.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def __call__(self, u: Tensor) -> Tensor:
        """Map numbers in (0, 1) to the times in (0, 1) that are these quantiles."""
        times: Tensor = (self.mean + self.deviation * torch.special.ndtri(u)).sigmoid()
        return times


@dataclass(frozen=True)
class FlowMatching:
    """Rectified flow (arXiv 2209.03003); a noise level is the time t in (0, 1], and 1 is noise.

    Attributes:
        times: the quantile function of the times in training.
        scale: the network is told `scale` * t.
        from_noise: whether the network counts from the noise: then it is told `scale` * (1 - t), and answers the
            opposite velocity.
    """

    times: Callable[[Tensor], Tensor] = LogitNormal()
    scale: float = 1.0
    from_noise: bool = False

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw times as in training, (clips,), and unit noise."""
        noise = gaussian(latents, generator)
        return Draw(noise, self.times(quantiles(len(latents), generator)).to(latents))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Return the point between latents and noise at the drawn times, and the velocity there.

            x = (1 - t) latents + t noise
            target = noise - latents

        A network that counts from the noise has the opposite target. An answer v amounts to the latents x - t v.
        """
        t = per_clip(draw.level, latents)
        noisy, velocity = (1 - t) * latents + t * draw.noise, draw.noise - latents
        if self.from_noise:
            return DenoisingTarget(noisy, self.scale * (1 - draw.level), -velocity, t)
        return DenoisingTarget(noisy, self.scale * draw.level, velocity, -t)

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - t and t, the shares of latents and noise."""
        return 1 - level, level

    def grid(self, scheduler: Any) -> Tensor:
        """Return the times of the scheduler, which counts as the network does."""
        times: Tensor = scheduler.sigmas[: len(scheduler.timesteps)]
        return 1 - times if self.from_noise else times


@dataclass(frozen=True)
class VariancePreserving:
    """The discrete process of DDPM (arXiv 2006.11239) as a pipeline's scheduler has it.

    A noise level is a whole timestep. The target is what the scheduler's `prediction_type` says: noise, latents, or v
    (arXiv 2202.00512).

    Attributes:
        scheduler: the scheduler of the pipeline, which has the noise schedule.
    """

    scheduler: Any

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Draw uniform timesteps, (clips,), and unit noise."""
        noise = gaussian(latents, generator)
        level = (quantiles(len(latents), generator) * self.scheduler.config.num_train_timesteps).long()
        return Draw(noise, level.to(latents.device))

    def denoising_target(self, latents: Tensor, draw: Draw) -> DenoisingTarget:
        """Return the noisy latents at the drawn timesteps, and the target of the scheduler's prediction type.

        With a the cumulative product of alphas:

            x = sqrt(a) latents + sqrt(1 - a) noise

        An answer e amounts to the latents (x - sqrt(1 - a) e) / sqrt(a) if it is noise, and to
        sqrt(a) x - sqrt(1 - a) e if it is v.
        """
        a = per_clip(self.scheduler.alphas_cumprod.to(latents)[draw.level], latents)
        noisy = a.sqrt() * latents + (1 - a).sqrt() * draw.noise
        targets = {
            "epsilon": (draw.noise, -((1 - a) / a).sqrt()),
            "sample": (latents, torch.ones_like(a)),
            "v_prediction": (a.sqrt() * draw.noise - (1 - a).sqrt() * latents, -(1 - a).sqrt()),
        }
        return DenoisingTarget(noisy, draw.level, *targets[self.scheduler.config.prediction_type])

    def coefficients(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(a) and sqrt(1 - a), with a the cumulative product of alphas."""
        a = self.scheduler.alphas_cumprod.to(level.device)[level]
        return a.sqrt(), (1 - a).sqrt()

    def grid(self, scheduler: Any) -> Tensor:
        """Return the timesteps of the scheduler, each once: some visit one twice, and some lie between two."""
        levels: Tensor = scheduler.timesteps.round().long().unique().flip(0)
        return levels
