"""Precision, recall, density and coverage: the fidelity and the diversity of a set, from nearest neighbours.

The ball of a frame reaches to its k-th nearest neighbour in its own set, and holds what lies at most that far: balls
are closed, as in Kynkäänniemi et al., arXiv 1904.06991, equation 1. The package prdc of Naeem et al. leaves out the
boundary, which matters only for ties, such as frames that occur twice. Frames that are equal are neighbours of each
other at distance 0.

Distances are taken from differences of frames, not from products, so that ties are exact and an offset of all frames
costs no digits: about 0.4 microseconds a pair at d = 512 on one core. All values are counts, without gradient. Memory
grows with the number of frames, not with the number of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import check_dim, checked_matrix
from dragon_rewards.metrics.linalg import room
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

BATCH_ELEMENTS = 5 * 2**20  # float64 values of one block of distances: 40 MiB; up to 32, glibc may keep freed blocks


@dataclass(frozen=True)
class Prdc:
    """The precision, recall, density and coverage of one generated set, each without unit; larger is better.

    Attributes:
        precision: the share of generated frames in a ball of the reference, 0 to 1; see `precision`.
        recall: the share of reference frames in a ball of the generated set, 0 to 1; see `recall`.
        density: the mean number of balls that hold a generated frame, over k; see `density`.
        coverage: the share of balls of the reference that hold a generated frame, 0 to 1; see `coverage`.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision(generated: Tensor, reference: Tensor, k: int = 5) -> float:
    """Return the share of generated frames in at least one ball of the reference, from 0 to 1: fidelity.

    For generated frames Y_j, reference frames X_i and the distance r(X_i) of X_i to its k-th nearest neighbour:

        precision = 1 / m sum_j [|Y_j - X_i| <= r(X_i) for some i]

    Source: Kynkäänniemi et al., arXiv 1904.06991, equation 2.

    Args:
        generated: (m, d), at least 1 frame.
        reference: (n, d), more than k frames.
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set is no matrix, is empty, or has NaN or infinite values; the two differ in dimension; k is
            below 1 or not below n.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import precision
        >>> precision(torch.tensor([[0.5], [3.0], [7.0]]), torch.tensor([[0.0], [1.0], [2.0]]), k=1)
        0.6666666666666666
    """
    generated, reference = checked_sets(generated, reference)
    return _share(_holders(generated, reference, radii(reference, k, "the reference")) > 0)


def recall(generated: Tensor, reference: Tensor, k: int = 5) -> float:
    """Return the share of reference frames in at least one ball of the generated set, from 0 to 1: diversity.

    For reference frames X_i, generated frames Y_j and the distance r(Y_j) of Y_j to its k-th nearest neighbour:

        recall = 1 / n sum_i [|X_i - Y_j| <= r(Y_j) for some j]

    Source: Kynkäänniemi et al., arXiv 1904.06991, equation 2.

    Args:
        generated: (m, d), more than k frames.
        reference: (n, d), at least 1 frame.
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set is no matrix, is empty, or has NaN or infinite values; the two differ in dimension; k is
            below 1 or not below m.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import recall
        >>> recall(torch.tensor([[0.5], [1.0], [7.0]]), torch.tensor([[0.0], [1.0]]), k=1)
        1.0
    """
    generated, reference = checked_sets(generated, reference)
    return _share(_holders(reference, generated, radii(generated, k, "the generated set")) > 0)


def density(generated: Tensor, reference: Tensor, k: int = 5) -> float:
    """Return the number of reference balls that hold a generated frame, over k, as a mean over frames: from 0 to n / k.

    For generated frames Y_j, reference frames X_i and the distance r(X_i) of X_i to its k-th nearest neighbour:

        density = 1 / (k m) sum_j sum_i [|Y_j - X_i| <= r(X_i)]

    It is fidelity that one outlier of the reference cannot raise. 1 is expected where both sets have one distribution,
    and it may be exceeded. Source: Naeem et al., arXiv 2002.09797.

    Args:
        generated: Y, (m, d), at least 1 frame.
        reference: X, (n, d), more than k frames.
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set is no matrix, is empty, or has NaN or infinite values; the two differ in dimension; k is
            below 1 or not below n.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import density
        >>> density(torch.tensor([[0.5], [3.0], [7.0]]), torch.tensor([[0.0], [1.0], [2.0]]), k=1)
        1.0
    """
    generated, reference = checked_sets(generated, reference)
    return int(_holders(generated, reference, radii(reference, k, "the reference")).sum()) / (k * len(generated))


def coverage(generated: Tensor, reference: Tensor, k: int = 5) -> float:
    """Return the share of balls of the reference that hold a generated frame, from 0 to 1: diversity.

    For generated frames Y_j, reference frames X_i and the distance r(X_i) of X_i to its k-th nearest neighbour:

        coverage = 1 / n sum_i [|Y_j - X_i| <= r(X_i) for some j]

    Where both sets have one distribution, this is expected:

        1 - (n - 1) ... (n - k) / ((m + n - 1) ... (m + n - k))

    Source: Naeem et al., arXiv 2002.09797.

    Args:
        generated: (m, d), at least 1 frame.
        reference: (n, d), more than k frames.
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set is no matrix, is empty, or has NaN or infinite values; the two differ in dimension; k is
            below 1 or not below n.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import coverage
        >>> coverage(torch.tensor([[0.5], [0.6]]), torch.tensor([[0.0], [1.0], [2.0], [3.0]]), k=1)
        0.5
    """
    generated, reference = checked_sets(generated, reference)
    nearest = torch.cat([distances.amin(1) for _, distances in _blocks(reference, generated)])
    return _share(nearest <= radii(reference, k, "the reference"))


def prdc(generated: Tensor, reference: Tensor, k: int = 5) -> Prdc:
    """Return `precision`, `recall`, `density` and `coverage`, from one pass over the distances.

    Args:
        generated: (m, d), more than k frames.
        reference: (n, d), more than k frames.
        k: the neighbour that a ball reaches to, at least 1.

    Raises:
        DragonError: a set is no matrix, is empty, or has NaN or infinite values; the two differ in dimension; k is
            below 1 or not below m and n.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import prdc
        >>> prdc(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0], [2.0], [3.0]]), k=1)
        Prdc(precision=1.0, recall=0.75, density=2.5, coverage=0.75)
    """
    generated, reference = checked_sets(generated, reference)
    real, fake = radii(reference, k, "the reference"), radii(generated, k, "the generated set")
    holders = torch.empty_like(fake)
    covered, recalled = torch.zeros_like(real, dtype=torch.bool), torch.zeros_like(real, dtype=torch.bool)
    for rows, distances in _blocks(generated, reference):
        inside = distances <= real
        holders[rows] = inside.sum(1).double()
        covered |= inside.any(0)
        recalled |= (distances <= fake[rows].unsqueeze(1)).any(0)
    shares = _share(holders > 0), _share(recalled), int(holders.sum()) / (k * len(generated)), _share(covered)
    return Prdc(*shares)


def checked_sets(generated: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Return a generated set and a reference in float64 on one device; raises as `prdc` does about them."""
    generated = checked_matrix(generated.detach(), "the generated set", minimum=1)
    reference = checked_matrix(reference.detach(), "the reference", minimum=1).to(generated.device)
    check_dim(generated.shape[1], reference.shape[1], "the generated set")
    return generated, reference


def radii(rows: Tensor, k: int, what: str) -> Tensor:
    """Return the distance of each row to its k-th nearest among the others, (n,)."""
    if not 1 <= k < len(rows):
        raise DragonError(
            f"k = {k} does not fit {what} of {counted(len(rows), 'frame')}: k must be from 1 to one less, so add "
            "frames or"
            " choose another k"
        )
    neighbours = (distances.topk(k + 1, largest=False).values for _, distances in _blocks(rows, rows))
    return torch.cat([nearest.amax(1) for nearest in neighbours])  # k + 1: at distance 0 a row finds itself


def _holders(points: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Return the number of balls that hold each point, (points,)."""
    return torch.cat([(distances <= radii).sum(1) for _, distances in _blocks(points, centres)])


def _blocks(rows: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of consecutive rows: which rows, and their distances (size, others) from the others."""
    size = max(1, room(rows, BATCH_ELEMENTS) // len(others))
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        yield block, torch.cdist(rows[block], others, compute_mode="donot_use_mm_for_euclid_dist")


def _share(mask: Tensor) -> float:
    return int(mask.sum()) / len(mask)
