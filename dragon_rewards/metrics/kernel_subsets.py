"""The kernel audio distance and the maximum mean discrepancy of many subsets of the same clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import check_rows
from dragon_rewards.metrics.kernel import MINIMUM_FRAMES, SCALE, checked_sides, cubic_kernel
from dragon_rewards.metrics.selection import Expansion

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BATCH_ELEMENTS = 2**24  # float64 values of one array of a batch: 128 MiB


def kernel_audio_distance_subsets(x: Tensor, y: Tensor, bandwidth: float) -> Callable[[Tensor], Tensor]:
    """Prepare `kernel_audio_distance` of many subsets of these points: it maps index rows (k, m) to distances (k,).

    The kernel is computed once; a subset sums up a part of it. An index that occurs twice in a row counts twice. The
    result also has `expansion`, by which `select_positive` finds the exchanges that are worth valuing. It has no
    gradient.

    Args:
        x: the evaluated points, (n, d), at least 2.
        y: the points of the reference, at least 2.
        bandwidth: of the Gaussian kernel, in embedding units.

    Raises:
        DragonError: a set is refused by `kernel_audio_distance`; the result refuses rows that are no indices of points
            or have fewer than 2.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import kernel_audio_distance_subsets
        >>> points, reference = torch.tensor([[0.5], [1.5], [9.0]]), torch.tensor([[0.0], [1.0], [2.0]])
        >>> distance = kernel_audio_distance_subsets(points, reference, bandwidth=1.0)
        >>> [round(value, 2) for value in distance(torch.tensor([[0, 1], [1, 2]])).tolist()]
        [-33.71, -24.71]
    """

    def gaussian(rows: Tensor, others: Tensor) -> Tensor:
        distances = torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
        return SCALE * (-distances.square() / (2 * bandwidth**2)).exp()

    return _prepared(x, y, gaussian)


def maximum_mean_discrepancy_subsets(x: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Prepare `maximum_mean_discrepancy` of many subsets of these points: it maps index rows (k, m) to values (k,).

    It is as `kernel_audio_distance_subsets`, with the cubic kernel.

    Args:
        x: the evaluated points, (n, d), at least 2.
        y: the points of the reference, at least 2.

    Raises:
        DragonError: a set is refused by `maximum_mean_discrepancy`; the result refuses rows that are no indices of
            points or have fewer than 2.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import maximum_mean_discrepancy_subsets
        >>> points = torch.tensor([[0.0], [1.0], [2.0]])
        >>> maximum_mean_discrepancy_subsets(points, points[:2])(torch.tensor([[0, 1], [1, 2]])).tolist()
        [-3.5, 9.5]
    """
    return _prepared(x, y, cubic_kernel)


@torch.no_grad()
def _prepared(x: Tensor, y: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]) -> _KernelSubsets:
    x, y = checked_sides(x, y)
    blocks = y.split(max(1, BATCH_ELEMENTS // len(y)))
    own = torch.stack([kernel(row[None], row[None]).sum() for row in y]).sum()
    within = torch.stack([kernel(block, y).sum() for block in blocks]).sum() - own
    between = torch.cat([kernel(block, y).mean(1) for block in x.split(max(1, BATCH_ELEMENTS // len(y)))])
    return _KernelSubsets(kernel(x, x), -2 * between, within / (len(y) * (len(y) - 1)))


@dataclass(frozen=True, eq=False)
class _KernelSubsets:
    """The values of subsets: mean_{i != j} K_ij + mean_i b_i + c.

    Attributes:
        kernel: K, (n, n).
        linear: b, (n,): minus twice the mean kernel with the reference.
        constant: c, (): the mean kernel within the reference.
    """

    kernel: Tensor
    linear: Tensor
    constant: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.linear))
        if rows.shape[1] < MINIMUM_FRAMES:
            raise DragonError(f"the unbiased distance of a subset needs {MINIMUM_FRAMES} points, not {rows.shape[1]}")
        batches = rows.to(self.linear.device).split(max(1, BATCH_ELEMENTS // len(self.linear)))
        return torch.cat([self._values(batch) for batch in batches])

    def _values(self, rows: Tensor) -> Tensor:
        count = rows.shape[1]
        times = self.linear.new_zeros(len(rows), len(self.linear))
        times.scatter_add_(1, rows.long(), times.new_ones(rows.shape))
        pairs = ((times @ self.kernel) * times).sum(1) - times @ self.kernel.diagonal()
        return pairs / (count * (count - 1)) + times @ self.linear / count + self.constant

    def expansion(self, clips: Tensor, weights: Tensor, moves: Tensor) -> Expansion:
        """Expand the value about the mixture in which point clips[i] counts weights[i] times.

        With N the sum of the weights w, the value is (w^T K w - w . diag K) / (N (N - 1)) + w . b / N + c: a quadratic,
        which the expansion gives exactly for moves that together leave N as it is.

        Args:
            clips: indices (k,) of points.
            weights: (k,), positive, with a sum above 1.
            moves: changes of the weights, (moves, k).

        Raises:
            DragonError: `clips` holds no indices of points.
        """
        check_rows(clips.unsqueeze(0), len(self.linear))
        chosen = clips.to(self.linear.device).long()
        weights, moves = weights.to(self.linear), moves.to(self.linear)
        kernel, linear, count = self.kernel[chosen][:, chosen], self.linear[chosen], weights.sum()
        pairs = count * (count - 1)
        slope = (2 * kernel @ weights - kernel.diagonal()) / pairs + linear / count
        return Expansion((moves @ slope).cpu(), (moves @ kernel @ moves.mT / pairs).cpu())
