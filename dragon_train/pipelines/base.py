"""What the trainer asks of a pipeline: sample, decode, and a denoising error in the model's own parameterisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Draw:
    """The random part of a denoising error; policy and reference are given the same draw.

    Attributes:
        noise: unit Gaussian noise in the shape of the latents.
        level: one noise level per clip, in the pipeline's own unit, (clips,).
    """

    noise: Tensor
    level: Tensor


class Policy(Protocol):
    """A diffusion pipeline under tuning."""

    @property
    def sample_rate(self) -> int:
        """Samples a second of `decode`'s audio."""
        ...

    @property
    def denoiser(self) -> nn.Module:
        """The network that is tuned; assignable, so that the reference can take its place."""
        ...

    @denoiser.setter
    def denoiser(self, network: nn.Module) -> None: ...

    @property
    def lora_targets(self) -> Sequence[str]:
        """Names of the linear layers that get an adapter by default."""
        ...

    def sample(self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float) -> Tensor:
        """Latents of one clip per prompt, without gradient; a clip depends on its own prompt and seed alone."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> audio (clips, channels, samples)."""
        ...

    def condition(self, prompts: Sequence[str]) -> Mapping[str, Tensor]:
        """What the denoiser is told about the prompts; each tensor has one row per prompt."""
        ...

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Noise and noise levels as in the model's training."""
        ...

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Tensor], draw: Draw) -> Tensor:
        """Mean squared error of the denoiser's native prediction, one value per clip, with gradient."""
        ...
