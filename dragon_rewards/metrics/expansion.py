"""The second-order expansion of a set reward: what all exchanges do to it, singly and together, without valuing any."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.metrics.linalg import on_accelerator
from dragon_rewards.metrics.ragged import stacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

RISE = 1e-9  # of the sum of all terms: what rounding alone can make of a rise
STRIP = 128  # rows of all moves' matrices held at once


@dataclass(frozen=True, eq=False)
class Expansion:
    """The quadratic by which a reward changes under moves z, each of which moves the weights of some clips.

        r(z) - r(0) = slope . z + z^T curvature z

    Attributes:
        slope: (moves,).
        curvature: (moves, moves), symmetric.
    """

    slope: Tensor
    curvature: Tensor

    def __neg__(self) -> Expansion:
        return Expansion(-self.slope, -self.curvature)

    def climb(self, start: Tensor, *, balanced: bool) -> Tensor:
        """Flip signs of z, one or two at a time, always those that raise the expansion most, until no flip raises it.

        Args:
            start: the first z, (moves,); its entries differ in sign only.
            balanced: flip only two of opposite sign, so that the sum of z stays.

        Returns:
            The last z, (moves,).

        Example:
            >>> import torch
            >>> from dragon_rewards.metrics.expansion import Expansion
            >>> expansion = Expansion(torch.tensor([1.0, -1.0, 3.0]), torch.zeros(3, 3))
            >>> expansion.climb(torch.full((3,), -0.5), balanced=False).tolist()
            [0.5, -0.5, 0.5]
        """
        signs, least = start.clone(), RISE * float(self.slope.abs().sum() + self.curvature.abs().sum())
        while True:
            rises = self.rises(signs)
            if balanced:
                rises = rises.masked_fill(torch.outer(signs, signs) > 0, -inf)
            best = int(rises.argmax())
            if not rises.flatten()[best] > least:
                return signs
            signs[list({*divmod(best, len(signs))})] *= -1

    def rises(self, signs: Tensor) -> Tensor:
        """Return what flipping signs i and j of z (moves,) adds to the expansion, (moves, moves).

        The diagonal holds what flipping i alone adds. With steps s = -2 z and c for the curvature:

            g_i = s_i (slope_i + 2 (c z)_i) + s_i^2 c_ii
            g_ij = g_i + g_j + 2 s_i s_j c_ij
        """
        steps = -2 * signs
        single = steps * (self.slope + 2 * self.curvature @ signs) + steps.square() * self.curvature.diagonal()
        both = single[:, None] + single + 2 * torch.outer(steps, steps) * self.curvature
        return both.diagonal_scatter(single)


def root_curvature(frames: Tensor, lengths: Sequence[int], moves: Tensor, added: Tensor, roots: Tensor) -> Tensor:
    """Return the inner products of the moves' changes of a covariance M, as tr M^1/2 bends along them: (moves, moves).

    In the axes of M = diag(r^2), tr (M + E)^1/2 has the second-order term

        -1/4 sum_ij E_ij^2 / (r_i r_j (r_i + r_j)),

    from the divided differences of the slope 1 / (2 r) (Daleckii and Krein 1965). With D = E / sqrt(r_i r_j), the
    product of moves a and b is

        sum_ij D^a_ij D^b_ij / (r_i + r_j)

    Args:
        frames: (frames, d), float32, clip after clip, in the axes of M, each axis divided by sqrt(r).
        lengths: the number of frames of each clip.
        moves: changes of the clips' weights, (moves, clips); D^a is the sum of weight * frames^T frames.
        added: the frames that each move adds, (moves,): as many times M itself, diag(r), is taken off D.
        roots: r, (d,), positive.
    """
    roots = roots.float()
    products = torch.zeros(len(moves), len(moves), device=roots.device)
    for start in range(0, len(roots), STRIP):
        strip = _strip(frames, lengths, moves, added, roots, start).flatten(1)
        products += strip @ strip.mT
    return products.double()


def _strip(frames: Tensor, lengths: Sequence[int], moves: Tensor, added: Tensor, roots: Tensor, start: int) -> Tensor:
    """Return rows from `start` on of every D / sqrt(r_i + r_j).

    Right of the diagonal block, each entry stands for its mirror image too.
    """
    own, rest = slice(start, start + STRIP), slice(start, None)
    changes = torch.zeros(len(moves), len(roots[own]), len(roots[rest]), device=roots.device)
    (_add_dense if on_accelerator(frames) else _add_sparse)(changes, frames, lengths, moves, own, rest)
    changes.diagonal(dim1=1, dim2=2).sub_(torch.outer(added.float(), roots[own]))
    scale = (roots[own, None] + roots[rest]).rsqrt()
    scale[:, STRIP:] *= sqrt(2)
    return changes.mul_(scale)


def _add_sparse(
    changes: Tensor, frames: Tensor, lengths: Sequence[int], moves: Tensor, own: slice, rest: slice
) -> None:
    """Add weight * frames^T frames clip by clip, and pass over clips of weight 0: most, where moves are exchanges."""
    clips = frames.split(list(lengths))
    for change, move in zip(changes, moves, strict=True):
        for index in move.nonzero()[:, 0].tolist():
            change.addmm_(clips[index][:, own].mT, clips[index][:, rest], alpha=float(move[index]))


def _add_dense(changes: Tensor, frames: Tensor, lengths: Sequence[int], moves: Tensor, own: slice, rest: slice) -> None:
    """Add weight * frames^T frames for all clips of a batch at once.

    It takes more arithmetic than `_add_sparse`, and as many launches for many clips as for few.
    """
    for batch, clips in stacks(frames, lengths, changes[0].numel()):
        products = clips[..., own].mT @ clips[..., rest]
        changes.flatten(1).addmm_(moves[:, batch].float(), products.flatten(1))
