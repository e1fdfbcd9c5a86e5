"""Precision, recall, density and coverage of many subsets of the same points: distances are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import check_rows
from dragon_rewards.metrics.neighbours import checked_sets, radii
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BATCH_ELEMENTS = 2**24  # values of one array of a batch: 128 MiB in float64


def precision_subsets(generated: Tensor, reference: Tensor, k: int = 5) -> Callable[[Tensor], Tensor]:
    """Prepare `precision` of many subsets of the generated points: it maps index rows (s, m) to values (s,).

    Whether a point is in a ball of the reference does not depend on the other points, so a subset has the mean.

    Args:
        generated: (n, d), at least 1 point.
        reference: more than k points, (r, d).
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set or k is refused by `precision`; the result refuses rows that are no indices of points.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import precision_subsets
        >>> share = precision_subsets(torch.tensor([[0.5], [7.0]]), torch.tensor([[0.0], [1.0], [2.0]]), k=1)
        >>> share(torch.tensor([[0, 0], [0, 1]])).tolist()
        [1.0, 0.5]
    """
    return _Means(_inside(generated, reference, k).any(1).double())


def density_subsets(generated: Tensor, reference: Tensor, k: int = 5) -> Callable[[Tensor], Tensor]:
    """Prepare `density` of many subsets of the generated points: it maps index rows (s, m) to values (s,).

    Args:
        generated: (n, d), at least 1 point.
        reference: more than k points, (r, d).
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set or k is refused by `density`; the result refuses rows that are no indices of points.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import density_subsets
        >>> density = density_subsets(torch.tensor([[0.5], [7.0]]), torch.tensor([[0.0], [1.0], [2.0]]), k=1)
        >>> density(torch.tensor([[0, 0], [0, 1]])).tolist()
        [2.0, 1.0]
    """
    return _Means(_inside(generated, reference, k).sum(1).double() / k)


def coverage_subsets(generated: Tensor, reference: Tensor, k: int = 5) -> Callable[[Tensor], Tensor]:
    """Prepare `coverage` of many subsets of the generated points: it maps index rows (s, m) to values (s,).

    Args:
        generated: (n, d), at least 1 point.
        reference: more than k points, (r, d).
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set or k is refused by `coverage`; the result refuses rows that are no indices of points.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import coverage_subsets
        >>> reference = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> coverage_subsets(torch.tensor([[0.5], [2.6]]), reference, k=1)(torch.tensor([[0, 0], [0, 1]])).tolist()
        [0.5, 1.0]
    """
    return _Coverage(_inside(generated, reference, k))


def recall_subsets(generated: Tensor, reference: Tensor, k: int = 5) -> Callable[[Tensor], Tensor]:
    """Prepare `recall` of many subsets of the generated points: it maps index rows (s, m) to values (s,).

    The balls are the subset's own. An index that occurs twice in a row is a neighbour of itself at distance 0.

    Args:
        generated: (n, d), more than k points.
        reference: at least 1 point, (r, d).
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set or k is refused by `recall`; the result refuses rows that are no indices of points or hold no
            more than k.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import recall_subsets
        >>> share = recall_subsets(torch.tensor([[0.5], [1.0], [7.0]]), torch.tensor([[0.0], [1.0]]), k=1)
        >>> share(torch.tensor([[0, 1], [0, 2]])).tolist()
        [1.0, 1.0]
    """
    generated, reference = checked_sets(generated, reference)
    radii(generated, k, "the generated set")  # refuses a k that does not fit
    return _Recall(_distances(generated, generated), _distances(generated, reference), k)


def _inside(generated: Tensor, reference: Tensor, k: int) -> Tensor:
    """Return which of the reference's balls hold which generated point, (n, r)."""
    generated, reference = checked_sets(generated, reference)
    return _distances(generated, reference) <= radii(reference, k, "the reference")


def _distances(rows: Tensor, others: Tensor) -> Tensor:
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True, eq=False)
class _Means:
    """The mean value of a subset's points; values are (n,)."""

    values: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.values))
        return self.values[rows.to(self.values.device)].mean(1)


@dataclass(frozen=True, eq=False)
class _Coverage:
    """The share of the reference's balls that hold a point of a subset; `inside` is (n, r)."""

    inside: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.inside))
        batches = rows.to(self.inside.device).split(max(1, BATCH_ELEMENTS // (rows.shape[1] * self.inside.shape[1])))
        return torch.cat([self.inside[batch].any(1).double().mean(1) for batch in batches])


@dataclass(frozen=True, eq=False)
class _Recall:
    """The share of the reference that lies in a ball of a subset.

    Attributes:
        within: the distances of generated points from each other, (n, n).
        between: the distances of generated points from the reference, (n, r).
        k: the neighbour that a ball reaches to.
    """

    within: Tensor
    between: Tensor
    k: int

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.within))
        size = rows.shape[1]
        if size <= self.k:
            raise DragonError(
                f"k = {self.k} does not fit a subset of {counted(size, 'point')}: it needs at least {self.k + 1}"
            )
        made = size * max(size, self.between.shape[1])
        batches = rows.to(self.within.device).long().split(max(1, BATCH_ELEMENTS // made))
        return torch.cat([self._values(batch) for batch in batches])

    def _values(self, rows: Tensor) -> Tensor:
        own = self.within[rows[:, :, None], rows[:, None, :]]
        reach = own.topk(self.k + 1, dim=2, largest=False).values.amax(2)  # k + 1: a point finds itself at distance 0
        return (self.between[rows] <= reach[:, :, None]).any(1).double().mean(1)
