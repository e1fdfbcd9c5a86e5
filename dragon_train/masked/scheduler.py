"""Step from masked tokens to tokens: ancestral sampling of masked diffusion (arXiv 2406.07524).

With m the share of tokens that are masked, a step from m to m' < m unmasks each masked token with the probability
1 - m' / m, and draws it from the softmax of the network's logits. What is unmasked stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

if TYPE_CHECKING:
    from dragon_train.masked.codebook import ProductCodebook


@dataclass
class MaskedSchedulerOutput:
    """The latents after a step, in a field that is named as in diffusers."""

    prev_sample: Tensor


class MaskedScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """The steps of `MaskedAudioPipeline`; it has the interface that schedulers of diffusers have.

    Where gradient is recorded, drawn tokens are straight-through: their latents are the centroid's, and their gradient
    is of the softmax of logits and Gumbel noise over `relaxation` (DRAKES, arXiv 2410.13643; arXiv 1611.01144). That is
    biased toward what a mixture of tokens would gain; of one token it misses the optimum by 0.02 nats at 1, by 0.001 at
    0.5, and has more variance the lower it is.

    Attributes:
        codebook: of the pipeline, which puts it here.
        timesteps: the share that is masked before each step, cos(pi k / 2 K) for k = 0 to K - 1; after the last none.
    """

    order = 1
    init_noise_sigma = 0.0  # sampling begins with everything masked
    codebook: ProductCodebook

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, relaxation: float = 0.5) -> None:
        self.relaxation = relaxation
        self.set_timesteps(8)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Choose the shares that are masked before each of a number of steps."""
        places = torch.arange(num_inference_steps, dtype=torch.float64) / num_inference_steps
        self.timesteps = (places * math.pi / 2).cos().float().to(device)

    def scale_model_input(self, sample: Tensor, timestep: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return what the network sees of latents (clips, channels, frames): also which groups are masked."""
        flags = self.codebook.masked(self.codebook.rotate(sample))
        return torch.cat([sample.float(), flags.float()], 1)

    def unmasking(self, timestep: Tensor) -> Tensor:
        """Return the probability with which a masked token is unmasked in the step that begins at this share, ()."""
        following = torch.cat([self.timesteps[1:], self.timesteps.new_zeros(1)])
        now = timestep.to(self.timesteps)
        return 1 - following[(self.timesteps - now).abs().argmin()] / now

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> MaskedSchedulerOutput:
        """Unmask some tokens of each clip.

        Args:
            model_output: logits, (clips, groups * vocabulary, frames).
            timestep: the share that is masked, one of `timesteps`.
            sample: latents, (clips, channels, frames).
            generator: where numbers are drawn from, on the CPU; one for each clip, or one for all.
        """
        book = self.codebook
        coordinates, logits = book.rotate(sample), model_output.float().unflatten(1, (book.groups, -1))
        sources = generator if isinstance(generator, list) else [generator] * len(sample)
        chance = self.unmasking(timestep)
        clips = zip(coordinates, logits, sources, strict=True)
        return MaskedSchedulerOutput(book.restore(torch.stack([self.unmask(*clip, chance) for clip in clips])))

    def unmask(self, coordinates: Tensor, logits: Tensor, source: torch.Generator | None, chance: Tensor) -> Tensor:
        """Return the coordinates of one clip, (groups, size, frames), with each masked token drawn by a chance.

        Args:
            coordinates: what is there, (groups, size, frames).
            logits: of all tokens, (groups, vocabulary, frames).
            source: where numbers are drawn from.
            chance: the probability with which a masked token is drawn, ().
        """
        drawn = torch.rand(logits.shape[0], logits.shape[2], generator=source).to(logits.device)
        groups, frames = places = (self.codebook.masked(coordinates[None])[0] & (drawn < chance)).nonzero().unbind(1)
        noise = -torch.empty(len(groups), logits.shape[1]).exponential_(generator=source).log()  # Gumbel's
        tokens = self.draw(logits.mT[groups, frames].log_softmax(1) + noise.to(logits), groups)
        unmasked: Tensor = coordinates.mT.index_put(places, tokens).mT
        return unmasked

    def draw(self, scores: Tensor, groups: Tensor) -> Tensor:
        """Return the coordinates of the tokens with the highest scores, with gradient where it is recorded.

        Args:
            scores: log-probabilities with Gumbel noise, (tokens, vocabulary).
            groups: the group of each token, (tokens,).

        Returns:
            Coordinates, (tokens, size).
        """
        centroids = self.codebook.centroids.float()
        hard = centroids[groups, scores.argmax(1)]
        if not scores.requires_grad:
            return hard
        mixed = (scores / self.relaxation).softmax(1) @ centroids.movedim(0, 1).flatten(1)  # by all groups at once
        own = torch.arange(len(groups), device=groups.device)
        soft = mixed.unflatten(1, (self.codebook.groups, -1))[own, groups]
        drawn: Tensor = hard + (soft - soft.detach())  # in this order exactly the centroid
        return drawn
