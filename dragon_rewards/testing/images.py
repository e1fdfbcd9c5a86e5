"""Synthetic images that are the same on every call: stripes, gradients, noise, and discs on black."""

from __future__ import annotations

from math import tau

import torch
from torch import Tensor


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Make RGB images (count, 3, height, width) in [0, 1], each of another colour; another seed gives other colours."""
    down, across = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    kinds = (_stripes, _gradient, _noise, _disc)
    return torch.stack([kinds[image % len(kinds)](down, across, _colour(image + seed)) for image in range(count)])


def _colour(image: int) -> Tensor:
    """Return the colour (3, 1, 1) of an image, a seventh of the way round the hues from one number to the next."""
    return (0.5 + 0.4 * torch.cos(tau * (image / 7 + torch.tensor([0.0, 1 / 3, 2 / 3]))))[:, None, None]


def _stripes(down: Tensor, across: Tensor, colour: Tensor) -> Tensor:
    return colour * (0.5 + 0.5 * torch.sin(tau * (3 * down + 5 * across)))


def _gradient(down: Tensor, across: Tensor, colour: Tensor) -> Tensor:
    return down * colour + across * (1 - colour) * (1 - down)


def _noise(down: Tensor, across: Tensor, colour: Tensor) -> Tensor:  # noqa: ARG001  of the size of the others
    return colour * torch.rand(3, *down.shape, generator=torch.Generator().manual_seed(0))


def _disc(down: Tensor, across: Tensor, colour: Tensor) -> Tensor:
    return colour * ((down - 0.4).square() + (across - 0.6).square() < 0.1)  # noqa: PLR2004  a radius of 0.3
