"""Turn latents into tokens and back by product quantisation: a rotation, then the nearest of V centroids per group.

Rotated channels lie in groups, each of which is quantised by itself (optimized product quantization, Ge et al., CVPR
2013), so that every combination of tokens has latents of its own and the tokens are read from these again, exactly.
Residual quantisation, which most codecs of audio have, is better by a few bits but has no such inverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

if TYPE_CHECKING:
    from torch import Tensor

FAINT = 0.25  # of the least centroid's squared norm: a group below it holds no token


class ProductCodebook(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """The tokens of latents (clips, channels, frames): one of `vocabulary` for each group and frame.

    A group without a token, which is masked, is 0 in the rotated latents; no centroid is.
    """

    rotation: Tensor
    centroids: Tensor

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, channels: int = 128, groups: int = 16, vocabulary: int = 512) -> None:
        super().__init__()
        self.groups, self.vocabulary = groups, vocabulary
        self.register_buffer("rotation", torch.eye(channels))
        self.register_buffer("centroids", torch.randn(groups, vocabulary, channels // groups))

    def rotate(self, latents: Tensor) -> Tensor:
        """Return the coordinates of latents (clips, channels, frames) by group: (clips, groups, size, frames)."""
        with torch.autocast(latents.device.type, enabled=False):
            rotated = self.rotation.float() @ latents.float()
        coordinates: Tensor = rotated.unflatten(1, (self.groups, -1))
        return coordinates

    def restore(self, coordinates: Tensor) -> Tensor:
        """Return the latents of coordinates: the inverse of `rotate`."""
        with torch.autocast(coordinates.device.type, enabled=False):
            latents: Tensor = self.rotation.float().mT @ coordinates.flatten(1, 2)
        return latents

    def masked(self, coordinates: Tensor) -> Tensor:
        """Return which groups hold no token: (clips, groups, frames), of bool."""
        least = self.centroids.float().square().sum(2).min()
        return coordinates.square().sum(2) < FAINT * least

    def tokens(self, coordinates: Tensor) -> Tensor:
        """Return the nearest centroids: whole numbers (clips, groups, frames)."""
        centroids = self.centroids.float()
        near = torch.einsum("bgdt,gvd->bgvt", coordinates, centroids)
        return (near - centroids.square().sum(2)[None, :, :, None] / 2).argmax(2)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the coordinates of tokens (clips, groups, frames): (clips, groups, size, frames)."""
        own = torch.arange(self.groups, device=tokens.device)[:, None]
        return self.centroids.float()[own, tokens].movedim(3, 2)

    def expected(self, probabilities: Tensor) -> Tensor:
        """Return the mean coordinates under probabilities (clips, groups, vocabulary, frames)."""
        return torch.einsum("bgvt,gvd->bgdt", probabilities, self.centroids.float())

    def forward(self, latents: Tensor) -> Tensor:
        """Return latents as their tokens have them, (clips, channels, frames)."""
        return self.restore(self.embed(self.tokens(self.rotate(latents))))
