"""What the trainer asks of a pipeline: sample, decode, and a denoising error in the model's own parameterisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from dragon_rewards.media.media import Media


@dataclass(frozen=True)
class Draw:
    """The random part of a denoising error; policy and reference are given the same draw.

    Attributes:
        noise: unit Gaussian noise in the shape of the latents.
        level: one noise level per clip, in the pipeline's own unit, (clips,).
    """

    noise: Tensor
    level: Tensor

    def select(self, rows: Tensor) -> Draw:
        """That of these clips."""
        return Draw(self.noise[rows], self.level[rows])

    @staticmethod
    def cat(parts: Sequence[Draw]) -> Draw:
        """Those of several sets of clips, one after the other."""
        return Draw(torch.cat([part.noise for part in parts]), torch.cat([part.level for part in parts]))


class Policy(Protocol):
    """A diffusion pipeline under tuning.

    Attributes:
        batch: most clips that are sampled or decoded at once.
        steps: diffusion steps of on-policy generations, where a run does not say otherwise.
        guidance: likewise classifier-free guidance; 1 is none.
    """

    batch: int
    steps: int
    guidance: float

    @property
    def pipeline(self) -> Any:
        """The diffusers pipeline itself."""
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

    def sample(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float, gradient_steps: int = 0
    ) -> Tensor:
        """Latents of one clip per prompt; a clip depends on its own prompt and seed alone.

        Gradient flows through the last `gradient_steps` of the denoiser's steps; with 0, through none.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> media (clips, ...), with gradient where the latents have it."""
        ...

    def clips(self, latents: Tensor, prompts: Sequence[str]) -> Media:
        """Decoded, as rewards take them."""
        ...

    def write(self, latents: Tensor, stem: Path) -> Path:
        """Store one clip's media in a file named `stem` with a suffix of its kind; returns its path."""
        ...

    def condition(self, prompts: Sequence[str]) -> Mapping[str, Any]:
        """What the denoiser is told about the prompts: its further arguments, without guidance."""
        ...

    def draw(self, latents: Tensor, generator: torch.Generator) -> Draw:
        """Noise and noise levels as in the model's training."""
        ...

    def denoising_error(self, latents: Tensor, condition: Mapping[str, Any], draw: Draw) -> Tensor:
        """Mean squared error of the denoiser's native prediction, one value per clip, with gradient."""
        ...
