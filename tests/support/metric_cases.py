"""Random embeddings, and metrics written down a second time with other arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mpmath  # type: ignore[import-untyped]
import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import Tensor

if TYPE_CHECKING:
    from dragon_rewards.metrics import Gaussian

thorough = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
dims = st.integers(1, 6)
lengths = st.lists(st.integers(2, 10), min_size=1, max_size=6)


def embeddings(seed: int, count: int, dim: int) -> Tensor:
    """Frames (count, dim) of an anisotropic, correlated Gaussian off the origin."""
    generator = torch.Generator().manual_seed(seed)
    mixing, offset = torch.randn(dim, dim, generator=generator), torch.randn(dim, generator=generator)
    return (torch.randn(count, dim, generator=generator) @ mixing + 3 * offset).double()


def songs(seed: int, frame_counts: list[int], dim: int) -> list[Tensor]:
    return [embeddings(seed + index, count, dim) for index, count in enumerate(frame_counts)]


def rotation(seed: int, dim: int) -> Tensor:
    square = torch.randn(dim, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    orthogonal: Tensor = torch.linalg.qr(square)[0]
    return orthogonal


def traces(*gaussians: Gaussian) -> float:
    """The magnitude that a Fréchet distance is a difference of."""
    return sum(float(gaussian.covariance.trace()) for gaussian in gaussians)


def frechet_of_40_digits(x: Tensor, y: Tensor) -> float:
    """Distance of two sets of frames, their moments included: a covariance rounded to float64 has lost its rank."""
    with mpmath.workdps(40):
        (mean, S), (other, R) = moments(x), moments(y)
        values, vectors = mpmath.eigsy(R)
        root = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        product = mpmath.eigsy(root * S * root, eigvals_only=True)
        cross = mpmath.fsum(mpmath.sqrt(max(value, 0)) for value in product)
        trace = mpmath.fsum(S[i, i] + R[i, i] for i in range(S.rows))
        return float(mpmath.norm(mean - other) ** 2 + trace - 2 * cross)


def moments(frames: Tensor) -> tuple[mpmath.matrix, mpmath.matrix]:
    rows, count = mpmath.matrix(frames.tolist()), len(frames)
    mean = rows.T * mpmath.ones(count, 1) / count
    centred = rows - mpmath.ones(count, 1) * mean.T
    return mean, centred.T * centred / (count - 1)


def frechet_of_sqrtm(a: Gaussian, b: Gaussian) -> float:
    S, R = a.covariance.numpy(), b.covariance.numpy()
    cross = np.trace(np.real(sqrtm(S @ R)))
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(S) + np.trace(R) - 2 * cross)
