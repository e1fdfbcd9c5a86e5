"""Facets: the clusters of a set of embeddings, and how much of their shares another set covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import check_dim, check_rows, checked_matrix, clip_means
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

MINIMUM_FACETS = 2  # a single one would hold every clip
RESTARTS, ITERATIONS = 8, 50  # of k-means; it settles in about ten iterations
SHARPEST = 0.01  # variance over the least squared distance of centroids: at a centroid, exp(-50) for the next facet
ROUNDING = 1e-12  # of the largest singular value: the centroids' span ends there
BATCH_ELEMENTS = 5 * 2**20  # float64 memberships gathered at once: 40 MiB


@dataclass(frozen=True, eq=False)
class Facets:
    """Clusters of a set of embeddings, in float64, and how the set is shared among them.

    A point x belongs to facet k by its membership

        p_k(x) = exp(-|x - c_k|^2 / 2v) / sum_j exp(-|x - c_j|^2 / 2v):

    the posterior of a mixture of equal spherical Gaussians, of which k-means is the hard limit. With one variance v for
    all facets, the facet of the largest p_k is the one of the nearest centroid; with a variance for each, wide facets
    would draw in what k-means had given to others, and everything far away. p depends on x only in the span of the
    centroids, so v is measured there: noise in other directions neither blurs the facets nor sharpens them.

    Attributes:
        centroids: c, (k, d), in embedding units.
        variance: v, (), per dimension of the centroids' span, in squared embedding units.
        shares: (k,), the mean of p over the set's own embeddings; their sum is 1.

    Raises:
        DragonError: the shapes do not fit, there are fewer than 2 facets, a dtype is not float64, a value is not
            finite, or a variance or a share is not positive.
    """

    centroids: Tensor
    variance: Tensor
    shares: Tensor

    def __post_init__(self) -> None:
        tensors = (self.centroids, self.variance, self.shares)
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if self.centroids.ndim != 2 or shapes[1:] != [(), shapes[0][:1]] or len(self.centroids) < MINIMUM_FACETS:  # noqa: PLR2004  a matrix
            raise DragonError(f"facets need centroids (2 or more, d), a variance () and shares (k,), not {shapes}")
        if any(tensor.dtype != torch.float64 or not tensor.isfinite().all() for tensor in tensors):
            raise DragonError("facets are finite and kept in float64")
        if not (self.variance > 0 and (self.shares > 0).all()):
            raise DragonError("the variance and the shares of facets must be positive")

    @classmethod
    def fit(cls, points: Tensor, count: int, seed: int = 0) -> Facets:
        """Fit facets by the best of 8 seeded runs of k-means++ (Arthur and Vassilvitskii 2007), the largest first.

        v is at least 1% of the least squared distance of two centroids, so that facets without spread have a gradient,
        too.

        Args:
            points: (n, d), one embedding per example.
            count: the number of facets, from 2 to the number of different points.
            seed: the seed of the starts of the runs.

        Raises:
            DragonError: `points` is no matrix, is empty, or holds NaN or infinite values; `count` does not fit.

        Example:
            >>> import torch
            >>> from dragon_rewards.metrics import Facets
            >>> facets = Facets.fit(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), count=2)
            >>> facets.centroids.tolist(), [round(share, 3) for share in facets.shares.tolist()]
            ([[1.0], [9.0]], [0.75, 0.25])
        """
        points = checked_matrix(points.detach(), "the set to find facets of", minimum=1)
        different = len(torch.unique(points, dim=0))
        if not MINIMUM_FACETS <= count <= different:
            raise DragonError(
                f"{count} facets cannot be made of {counted(different, 'different example')}: ask for 2 or more, "
                "and for no more than there are examples"
            )
        found, labels = _clustered(points, count, seed)
        order = labels.bincount(minlength=count).argsort(descending=True, stable=True)
        centroids = found[order]
        facets = cls(centroids, _variance(points - found[labels], centroids), torch.full_like(found[:, 0], 1 / count))
        return cls(centroids, facets.variance, facets.memberships(points).mean(0))

    @property
    def dim(self) -> int:
        """The dimension d of the embeddings, as the centroids have it."""
        return self.centroids.shape[1]

    def memberships(self, points: Tensor) -> Tensor:
        """Return how much each of the points (n, d) belongs to each facet: p, (n, k), of sum 1. Differentiable.

            p_k(x) = exp(-|x - c_k|^2 / 2v) / sum_j exp(-|x - c_j|^2 / 2v)

        Raises:
            DragonError: `points` is no matrix or of another dimension, or holds NaN or infinite values.
        """
        points = checked_matrix(points, "the set to share among facets", minimum=0)
        check_dim(points.shape[1], self.dim, "the set to share among facets")
        centre = self.centroids.mean(0)
        axes, origin = (self.centroids - centre).to(points.device), centre.to(points.device)
        # -|x - c|^2 / 2 = x c - |c|^2 / 2 - |x|^2 / 2, whose last term is every facet's
        closeness = (points - origin) @ axes.mT - axes.square().sum(1) / 2
        return (closeness / self.variance.to(points.device)).softmax(1)

    def to(self, device: torch.device) -> Facets:
        """Return a copy of these facets on another device."""
        return Facets(*(tensor.to(device) for tensor in (self.centroids, self.variance, self.shares)))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return centroids, variance and shares by name, as safetensors stores them."""
        return {"centroids": self.centroids, "variance": self.variance, "shares": self.shares}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Facets:
        """Make facets from what `to_tensors` returned.

        Raises:
            DragonError: a tensor is missing, or the tensors make no facets.
        """
        missing = {"centroids", "variance", "shares"} - set(tensors)
        if missing:
            raise DragonError(f"facets lack {' and '.join(sorted(missing))}: they were not made by `to_tensors`")
        return cls(tensors["centroids"], tensors["variance"], tensors["shares"])


def facet_coverage(frames: Sequence[Tensor], facets: Facets) -> Tensor:
    """Return how much of the shares of a set's facets these clips cover: a scalar from 0 to 1, without unit.

    With p_k the mean over clips of the memberships of their mean frames and w_k the set's own share:

        sum_k min(p_k, w_k) = 1 - sum_k |p_k - w_k| / 2

    That is one less the total variation: the intersection of histograms (Swain and Ballard 1991) over bins that k-means
    finds (Richardson and Weiss, arXiv 1805.12462). It is 1 for the set itself. A sample of m clips of the set's own
    distribution covers less where facets are apart, about

        1 - sum_k sqrt(w_k (1 - w_k) / (2 pi m)),

    which is 0.81 for 32 clips and 8 equal facets. Coverage judges proportions alone: a clip that is like nothing in the
    set counts for the facet that it is least unlike, which a Fréchet distance beside it would tell. Differentiable; but
    where facets are many deviations apart memberships are all but 0 or 1, and the gradient vanishes with their doubt:
    selection, which takes no gradient, serves there.

    Args:
        frames: per clip a matrix (frames, d).
        facets: the facets of the set to cover.

    Raises:
        DragonError: there are no clips, or a clip has no frames, another dimension, or NaN or infinite values; the clip
            is named by its index.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Facets, facet_coverage
        >>> facets = Facets.fit(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), count=2)
        >>> round(facet_coverage([torch.tensor([[8.0], [10.0]]), torch.tensor([[1.0]])], facets).item(), 3)
        0.75
    """
    return _overlap(_memberships(frames, facets).mean(0), facets.shares)


def facet_coverage_subsets(frames: Sequence[Tensor], facets: Facets) -> Callable[[Tensor], Tensor]:
    """Prepare `facet_coverage` of many subsets of these clips: it maps index rows (subsets, size) to values (subsets,).

    Args:
        frames: per clip a matrix (frames, d).
        facets: the facets of the set to cover.

    Raises:
        DragonError: the clips are refused by `facet_coverage`; the result refuses rows that are no indices of clips.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Facets, facet_coverage_subsets
        >>> facets = Facets.fit(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), count=2)
        >>> covered = facet_coverage_subsets([torch.tensor([[9.0]]), torch.tensor([[1.0]])], facets)
        >>> [round(value, 3) for value in covered(torch.tensor([[0, 1], [1, 1], [0, 0]])).tolist()]
        [0.75, 0.75, 0.25]
    """
    return _CoverageSubsets(_memberships(frames, facets), facets.shares)


@dataclass(frozen=True, eq=False)
class _CoverageSubsets:
    memberships: Tensor
    shares: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.memberships))
        size = max(1, BATCH_ELEMENTS // (rows.shape[1] * len(self.shares)))
        batches = torch.split(rows.to(self.memberships.device), size)
        return torch.cat([_overlap(self.memberships[batch].mean(1), self.shares) for batch in batches])


def _memberships(frames: Sequence[Tensor], facets: Facets) -> Tensor:
    """Return the memberships of the mean frame of each clip, (clips, k)."""
    return facets.memberships(clip_means(frames, facets.dim))


def _overlap(found: Tensor, wanted: Tensor) -> Tensor:
    return torch.minimum(found, wanted.to(found.device)).sum(-1)


def _clustered(points: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the centroids (k, d) and each point's label (n,), by the run with the least sum of squared distances."""
    import numpy as np
    from scipy.cluster.vq import ClusterError, kmeans2

    values, generator, runs = points.cpu().numpy(), np.random.default_rng(seed), []
    for _ in range(RESTARTS):
        try:
            means, _ = kmeans2(values, count, ITERATIONS, minit="++", missing="raise", rng=generator)
        except ClusterError:  # a facet has lost all its points; another start may keep them
            continue
        centroids = torch.from_numpy(means).to(points.device)
        distances = torch.cdist(points, centroids, compute_mode="donot_use_mm_for_euclid_dist")
        runs.append((float(distances.amin(1).square().sum()), centroids, distances.argmin(1)))
    whole = [run for run in runs if len(run[2].unique()) == count]
    if not whole:
        raise DragonError(f"{len(points)} examples do not part into {count} facets; ask for fewer")
    return min(whole, key=lambda run: run[0])[1:]


def _variance(residuals: Tensor, centroids: Tensor) -> Tensor:
    """Return v: the mean squared residual (n, d) per dimension of the centroids' span, but no less than its floor."""
    _, sizes, axes = torch.linalg.svd(centroids - centroids.mean(0), full_matrices=False)
    span = axes[sizes > ROUNDING * sizes[0]]
    floor = SHARPEST * torch.pdist(centroids).min().square()
    return torch.maximum((residuals @ span.mT).square().mean(), floor)
