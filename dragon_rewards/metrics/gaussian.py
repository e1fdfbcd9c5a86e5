"""The Gaussian that stands for a distribution of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.checks import check_dim, checked_matrix
from dragon_rewards.metrics.linalg import scatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

MINIMUM_FRAMES = 2  # one frame has no covariance
ROUNDING = 16 * torch.finfo(torch.float64).eps  # symmetric eigenvalues are off by a few eps of the largest


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance of a set of frames, in float64.

    Attributes:
        mean: (d,), in embedding units.
        covariance: (d, d), unbiased (divided by count - 1), in squared embedding units.
        count: the frames behind them, at least 2.

    Raises:
        DragonError: the shapes do not fit, a dtype is not float64, a value is not finite, or count is below 2.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian
        >>> Gaussian.fit(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).covariance.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """

    mean: Tensor
    covariance: Tensor
    count: int

    def __post_init__(self) -> None:
        shapes = tuple(self.mean.shape), tuple(self.covariance.shape)
        if self.mean.ndim != 1 or self.dim == 0 or shapes[1] != shapes[0] * 2:
            raise DragonError(f"a Gaussian needs a mean (d,) and a covariance (d, d), not {shapes[0]} and {shapes[1]}")
        if self.mean.dtype != torch.float64 or self.covariance.dtype != torch.float64:
            raise DragonError(f"a Gaussian is kept in float64, not {self.mean.dtype} and {self.covariance.dtype}")
        if self.count < MINIMUM_FRAMES:
            raise DragonError(f"a Gaussian needs at least {MINIMUM_FRAMES} frames, not {self.count}")
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise DragonError("a Gaussian's mean and covariance must be finite")

    @classmethod
    def fit(cls, frames: Tensor) -> Gaussian:
        """The sample mean and unbiased covariance of frames (n, d).

        Raises:
            DragonError: `frames` is no matrix, has fewer than 2 rows, or holds NaN or infinite values.
        """
        frames = checked_matrix(frames, "the set to fit a Gaussian to", MINIMUM_FRAMES)
        mean = frames.mean(0)
        centred = frames - mean
        return cls(mean, scatter(centred) / (len(frames) - 1), len(frames))

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return len(self.mean)

    @cached_property
    def sqrt(self) -> Tensor:
        """The symmetric positive semi-definite square root of the covariance, (d, d); a constant, without gradient."""
        values: Tensor
        vectors: Tensor
        values, vectors = torch.linalg.eigh(self.covariance.detach())
        return vectors * principal_roots(values) @ vectors.mT

    @cached_property
    def factor(self) -> Tensor:
        """A lower triangular W with W W^T = covariance, which may be singular, (d, d); a constant, without gradient."""
        triangle: Tensor = torch.linalg.qr(self.sqrt, mode="r")[1]  # sqrt = Q R, so covariance = R^T R
        return triangle.mT.contiguous()

    def merge(self, other: Gaussian) -> Gaussian:
        """The Gaussian of both sets of frames together (Chan, Golub and LeVeque 1979: centred moments).

        Raises:
            DragonError: the two differ in dimension.
        """
        check_dim(other.dim, self.dim, "the Gaussian to merge")
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = (self.count - 1) * self.covariance + (other.count - 1) * other.covariance
        scatter = scatter + torch.outer(shift, shift) * (self.count * other.count / count)
        return Gaussian(self.mean + shift * (other.count / count), scatter / (count - 1), count)

    def to_tensors(self) -> dict[str, Tensor]:
        """Mean, covariance and count by name, as safetensors stores them."""
        return {"mean": self.mean, "covariance": self.covariance, "count": torch.tensor(self.count)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Gaussian:
        """The inverse of `to_tensors`.

        Raises:
            DragonError: a tensor is missing, or the tensors make no Gaussian.
        """
        missing = {"mean", "covariance", "count"} - set(tensors)
        if missing:
            raise DragonError(f"statistics lack {' and '.join(sorted(missing))}: they were not made by `to_tensors`")
        return cls(tensors["mean"], tensors["covariance"], int(tensors["count"]))


def principal_roots(eigenvalues: Tensor) -> Tensor:
    """Square roots of the eigenvalues (..., d) of positive semi-definite matrices.

    Those within rounding of zero, relative to the largest, count as zero and pass no gradient: the slope there is
    infinite, and along a direction without variance there is nothing to learn from it.
    """
    kept = eigenvalues > ROUNDING * eigenvalues.amax(-1, keepdim=True)
    return torch.where(kept, torch.where(kept, eigenvalues, 1.0).sqrt(), 0.0)
