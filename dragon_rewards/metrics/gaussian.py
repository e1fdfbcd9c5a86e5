"""The Gaussian that stands for a distribution of embeddings, and the moments that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import MINIMUM_FRAMES, check_dim, checked_matrix
from dragon_rewards.metrics.linalg import eigenvalues, pivots, scatter, well_conditioned
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

ROUNDING = 16 * torch.finfo(torch.float64).eps  # symmetric eigenvalues are off by a few eps of the largest
TINY = torch.finfo(torch.float64).tiny  # squares below have fewer digits
AGREEMENT = 1e-9  # relative, of the variances by a factor and by the covariance: rounding leaves 1e-13
ROOM = 1e-10  # of the largest: asymmetry and negative eigenvalues by rounding; the 11 installed covariances have none
# Times sqrt(d), the same of a covariance whose maker kept it in float32: an entry is off by up to 2^-24 of itself, and
# |S| by Frobenius is at most sqrt(d) times the largest eigenvalue. Of the 11, `descriptions` (140 frames in 128
# dimensions) goes down to -2.3e-9 then, where -6.7e-7 is allowed.
ROOM_OF_FLOAT32 = 2.0**-24


@dataclass(frozen=True, eq=False)
class Moments:
    """The centred moments of a set of frames, in float64; sets are united by `+` and taken out by `-`.

    With n = n_a + n_b and the shift s = mean_b - mean_a (Chan, Golub and LeVeque 1979):

        mean = mean_a + s n_b / n
        scatter = scatter_a + scatter_b + s s^T n_a n_b / n

    `-` solves these for a.

    Attributes:
        mean: (d,), in embedding units.
        scatter: (d, d), the sum of outer products of centred frames, in squared embedding units.
        count: the frames behind them, at least 1: a single one has no scatter.
    """

    mean: Tensor
    scatter: Tensor
    count: int

    @classmethod
    def of(cls, frames: Tensor, minimum: int = 1) -> Moments:
        """Return the moments of frames (n, d).

        Raises:
            DragonError: `frames` is no matrix, has fewer than `minimum` rows, or holds NaN or infinite values.
        """
        frames = checked_matrix(frames, "the set to fit a Gaussian to", minimum)
        mean = frames.mean(0)
        return cls(mean, scatter(frames - mean), len(frames))

    def __add__(self, other: Moments) -> Moments:
        check_dim(len(other.mean), len(self.mean), "the set to merge")
        count = self.count + other.count
        shift = other.mean - self.mean
        between = torch.outer(shift, shift) * (self.count * other.count / count)
        return Moments(self.mean + shift * (other.count / count), self.scatter + other.scatter + between, count)

    def __sub__(self, other: Moments) -> Moments:
        check_dim(len(other.mean), len(self.mean), "the set to take out")
        count = self.count - other.count
        if count < 1:
            raise DragonError(
                f"{counted(other.count, 'frame')} cannot be taken out of {self.count}: none would be left"
            )
        mean = self.mean - (other.mean - self.mean) * (other.count / count)
        shift = other.mean - mean
        between = torch.outer(shift, shift) * (count * other.count / self.count)
        return Moments(mean, self.scatter - other.scatter - between, count)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The mean and covariance of a set of frames, in float64.

    A Gaussian that comes from outside, by this constructor or from a file, has to be symmetric to within 1e-10 of its
    largest entry, and its eigenvalues no lower than -1e-10 of the largest, or what rounding to float32 leaves where all
    entries are of that type; `fit` and `merge`, whose results are so by how they are made, look no further.

    Attributes:
        mean: (d,), in embedding units.
        covariance: (d, d), unbiased (divided by count - 1), in squared embedding units.
        count: the number of frames behind them, at least 2.
        triangle: W of the frames themselves, W W^T = covariance, lower triangular (d, d), where the covariance has lost
            the small roots to rounding; else None. `fit` makes it; no Gaussian of merged moments has one.

    Raises:
        DragonError: the shapes do not fit, a dtype is not float64, a value is not finite, count is below 2, the
            covariance is not symmetric or not positive semi-definite, or the triangle belongs to another covariance.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian
        >>> Gaussian.fit(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).covariance.tolist()
        [[2.0, 0.0], [0.0, 0.0]]
    """

    mean: Tensor
    covariance: Tensor
    count: int
    triangle: Tensor | None = None

    def __post_init__(self) -> None:
        self._check_form()
        self._check_covariance()
        if self.triangle is not None:
            self._check_triangle(self.triangle)

    @classmethod
    def _made(cls, mean: Tensor, covariance: Tensor, count: int, triangle: Tensor | None = None) -> Gaussian:
        """Make a Gaussian whose covariance is one by how it was made: no decomposition makes sure of it."""
        made = object.__new__(cls)
        vars(made).update(mean=mean, covariance=covariance, count=count, triangle=triangle)
        made._check_form()
        return made

    def _check_form(self) -> None:
        shapes = tuple(self.mean.shape), tuple(self.covariance.shape)
        if self.mean.ndim != 1 or self.dim == 0 or shapes[1] != shapes[0] * 2:
            raise DragonError(f"a Gaussian needs a mean (d,) and a covariance (d, d), not {shapes[0]} and {shapes[1]}")
        if self.mean.dtype != torch.float64 or self.covariance.dtype != torch.float64:
            raise DragonError(f"a Gaussian is kept in float64, not {self.mean.dtype} and {self.covariance.dtype}")
        if self.count < MINIMUM_FRAMES:
            raise DragonError(f"a Gaussian needs at least {MINIMUM_FRAMES} frames, not {self.count}")
        if not (self.mean.isfinite().all() & self.covariance.isfinite().all()):
            raise DragonError("a Gaussian's mean and covariance must be finite")

    def _check_covariance(self) -> None:
        covariance = self.covariance.detach()
        largest, asymmetry = covariance.abs().amax(), (covariance - covariance.mT).abs().amax()
        if not asymmetry <= self._room * largest:
            raise DragonError(
                f"a covariance is symmetric, and in this one mirrored entries differ by up to {asymmetry:.3g}, where "
                f"the largest entry is {largest:.3g}; compute it in float64, as `Gaussian.fit` does"
            )
        if not self.is_sound:
            values = eigenvalues(covariance)
            raise DragonError(
                "a covariance has no negative eigenvalue, and the eigenvalues of this one go from "
                f"{values[0]:.3g} to {values[-1]:.3g}; compute it in float64, as `Gaussian.fit` does"
            )

    @property
    def is_sound(self) -> bool:
        """Whether no eigenvalue is negative by more than rounding, as one may be after `without` took much out."""
        if self.is_well_conditioned:  # it has a Cholesky factor
            return True
        values = eigenvalues(self.covariance.detach())
        return bool(values[0] >= -self._room * values[-1])

    @property
    def _room(self) -> float:
        in_float32 = torch.equal(self.covariance.float().double(), self.covariance)
        return max(ROOM, sqrt(self.dim) * ROOM_OF_FLOAT32) if in_float32 else ROOM

    def _check_triangle(self, triangle: Tensor) -> None:
        if triangle.shape != self.covariance.shape or triangle.dtype != torch.float64 or triangle.triu(1).any():
            shape = tuple(self.covariance.shape)
            raise DragonError(f"a Gaussian's factor is {shape} in float64, as its covariance is, and lower triangular")
        covariance = self.covariance.detach()
        variances, off = covariance.diagonal(), (triangle @ triangle.mT - covariance).abs()
        alike = off.amax() <= AGREEMENT * variances.amax() + TINY
        if not (alike & (off.diagonal() <= AGREEMENT * variances + TINY).all()):
            raise DragonError("a Gaussian's factor does not give its covariance: fit both to the same frames")

    @classmethod
    def fit(cls, frames: Tensor) -> Gaussian:
        """Fit the sample mean and unbiased covariance of frames (n, d); where need be, with the factor of the frames.

            mean = 1 / n sum_i x_i,    covariance = 1 / (n - 1) sum_i (x_i - mean) (x_i - mean)^T

        Raises:
            DragonError: `frames` is no matrix, has fewer than 2 rows, or holds NaN or infinite values.
        """
        frames = checked_matrix(frames, "the set to fit a Gaussian to", MINIMUM_FRAMES)
        mean, degrees = frames.mean(0), len(frames) - 1
        covariance = scatter(frames - mean) / degrees
        fitted = cls._made(mean, covariance, len(frames))
        if fitted.is_well_conditioned:
            return fitted
        return cls._made(mean, covariance, len(frames), _triangle((frames - mean).detach()) / sqrt(degrees))

    @classmethod
    def of_moments(cls, moments: Moments) -> Gaussian:
        """Return the Gaussian with the sample mean and unbiased covariance of the frames behind some moments.

            covariance = scatter / (count - 1)

        Raises:
            DragonError: the moments are of fewer than 2 frames.
        """
        return cls._made(moments.mean, moments.scatter / (moments.count - 1), moments.count)

    @property
    def moments(self) -> Moments:
        """The moments of the frames behind this Gaussian, of which `of_moments` makes it."""
        return Moments(self.mean, (self.count - 1) * self.covariance, self.count)

    @property
    def dim(self) -> int:
        """The dimension d of the embeddings, as the mean has it."""
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
        """A lower triangular W with W W^T = covariance, which may be singular, (d, d); a constant, without gradient.

        It is the factor of the frames, if that was kept. A covariance alone that is not well-conditioned hides
        eigenvalues below `ROUNDING` of the largest, r, so W stands for none of them; a distance from any other
        Gaussian, of covariance S, is then off by up to

            2 sqrt(tr S d ROUNDING r),

        as |A^1/2 - B^1/2|^2 <= |A - B|_1 (Powers and Størmer 1970).
        """
        if self.triangle is not None:
            return self.triangle
        covariance = self.covariance.detach()
        if self.is_well_conditioned:
            lower: Tensor = torch.linalg.cholesky(covariance)
            return lower.contiguous()  # rows, which `linalg` hands on without a copy
        return _triangle(self.sqrt)  # sqrt = Q R, so covariance = R^T R

    @cached_property
    def is_well_conditioned(self) -> bool:
        """Whether the covariance in float64 still holds what a distance depends on, to 1e-10 of its trace."""
        return bool(well_conditioned(self.covariance, pivots(self.covariance)))

    def merge(self, other: Gaussian) -> Gaussian:
        """Return the Gaussian of both sets of frames together, without a factor of its own.

        Raises:
            DragonError: the two differ in dimension.
        """
        return Gaussian.of_moments(self.moments + other.moments)

    def without(self, other: Gaussian) -> Gaussian:
        """Return the Gaussian of the frames that are left when the frames of `other` are taken out.

        It is the inverse of `merge`, and it cancels: eigenvalues are off by a few float64 eps of the largest of `self`,
        not of the result.

        Raises:
            DragonError: the two differ in dimension, or fewer than 2 frames would be left.
        """
        return Gaussian.of_moments(self.moments - other.moments)

    def constant(self, most: int) -> Gaussian:
        """Return a copy without gradient and factor, which counts as at most `most` frames."""
        return Gaussian._made(self.mean.detach(), self.covariance.detach(), min(self.count, most))

    def to(self, device: torch.device) -> Gaussian:
        """Return a copy on another device, which has to have float64."""
        triangle = None if self.triangle is None else self.triangle.to(device)
        return Gaussian._made(self.mean.to(device), self.covariance.to(device), self.count, triangle)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return mean, covariance, count and the frames' factor, where it was kept, as safetensors stores them."""
        tensors = {"mean": self.mean, "covariance": self.covariance, "count": torch.tensor(self.count)}
        return tensors if self.triangle is None else {**tensors, "factor": self.triangle}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Gaussian:
        """Make a Gaussian from what `to_tensors` returned.

        Raises:
            DragonError: a tensor is missing, or the tensors make no Gaussian.
        """
        missing = {"mean", "covariance", "count"} - set(tensors)
        if missing:
            raise DragonError(f"statistics lack {' and '.join(sorted(missing))}: they were not made by `to_tensors`")
        count = tensors["count"]
        if count.dtype != torch.int64 or count.ndim:
            raise DragonError(f"a count of frames is one torch.int64, not {count.dtype} {tuple(count.shape)}")
        return cls(tensors["mean"], tensors["covariance"], int(count), tensors.get("factor"))


def _triangle(rows: Tensor) -> Tensor:
    """Return a lower triangular W (d, d) with W W^T = X^T X for rows X (n, d); the squares are never formed."""
    upper: Tensor = torch.linalg.qr(rows, mode="r")[1]
    missing = rows.shape[1] - len(upper)
    return torch.nn.functional.pad(upper, (0, 0, 0, missing)).mT.contiguous()


def principal_roots(eigenvalues: Tensor, sure: Tensor | None = None) -> Tensor:
    """Return the square roots of the eigenvalues of positive semi-definite matrices, (..., d).

    Eigenvalues within rounding of zero, relative to the largest, count as zero and pass no gradient: the slope there is
    infinite, and along a direction without variance there is nothing to learn from it.

    Args:
        eigenvalues: (..., d).
        sure: where eigenvalues are exact, however small, (...); there, all that are positive count.
    """
    least = ROUNDING * eigenvalues.amax(-1, keepdim=True)
    kept = eigenvalues > (least if sure is None else torch.where(sure.unsqueeze(-1), 0.0, least))
    return torch.where(kept, torch.where(kept, eigenvalues, 1.0).sqrt(), 0.0)
