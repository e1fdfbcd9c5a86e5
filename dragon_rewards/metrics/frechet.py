"""Fréchet audio distance (FAD): between Gaussians, of single clips, of sets of clips and of many subsets at once.

Every form is |mu - mu_r|^2 + tr S + tr S_r - 2 tr (S_r^1/2 S S_r^1/2)^1/2 (Dowson and Landau 1982; FAD: Kilgour et al.,
arXiv 1812.08466), in squared embedding units. They differ in how they reach the last term, the cross term: it is also
tr (W^T S W)^1/2 for any W with W W^T = S_r, and a triangular W takes half the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.checks import check_clips, check_dim, check_rows, pooled_clips
from dragon_rewards.metrics.expansion import Expansion, root_curvature
from dragon_rewards.metrics.gaussian import MINIMUM_FRAMES, principal_roots
from dragon_rewards.metrics.linalg import congruent_eigenvalues, eigenvalues, scatter, times_lower

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from dragon_rewards.metrics.gaussian import Gaussian

BATCH_ELEMENTS = 2**24  # float64 values of one array of a batch: 128 MiB; four to five of them live at once
MANY_ROWS = 16  # subsets of one call that pay for the scatters of clips; the selection's first call has two
KEPT_ELEMENTS = 2**26  # float64 values that are kept between calls: 512 MiB, 500 clips in 512 dimensions
BATCH_ROWS = 8  # subsets that share a sum: the more there are, the less is common to all


def frechet_distance(a: Gaussian, b: Gaussian) -> Tensor:
    """Squared Fréchet distance of two Gaussians of equal dimension: a scalar >= 0 in squared embedding units.

    The cross term is the sum of the roots of the eigenvalues of W^T a W, for b = W W^T. Differentiable (once) in
    mean and covariance of both; directions in which the product has no variance pass no gradient. Accurate to about
    1e-12 of the traces for well-conditioned covariances, and to about 1e-7 at worst.

    Raises:
        DragonError: the two differ in dimension.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, frechet_distance
        >>> frames = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
        >>> round(frechet_distance(Gaussian.fit(frames), Gaussian.fit(frames + 3)).item(), 9)
        18.0
    """
    check_dim(a.dim, b.dim, "the first Gaussian")
    cross = _traced_root(congruent_eigenvalues(a.covariance, b.factor))
    if b.covariance.requires_grad:  # the term is symmetric, and the slope in b is read off its mirror image
        mirrored = _traced_root(congruent_eigenvalues(b.covariance, a.factor))
        cross = cross + mirrored - mirrored.detach()
    shift = (a.mean - b.mean).square().sum()
    return (shift + a.covariance.trace() + b.covariance.trace() - 2 * cross).clamp(min=0)


def per_song_fad(frames: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """FAD of each clip's own frames from the reference: (clips,), in squared embedding units; smaller is better.

    The instance-to-distribution reward of DRAGON (arXiv 2504.15217). The cross term is the nuclear norm of
    Xc W / sqrt(n - 1) for the centred frames Xc (n, d) and S_r = W W^T: the sum of its singular values where n < d,
    that of the roots of the eigenvalues of its (d, d) Gram matrix otherwise. Differentiable in the frames, not in the
    reference.

    Args:
        frames: per clip a matrix (frames, d) of at least 2 frames; clips may differ in length.
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are no clips, or a clip (named by its index) has one frame, NaN or infinite values, or
            another dimension than the reference.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, per_song_fad
        >>> song = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> distances = per_song_fad([song, song + 1], Gaussian.fit(song))
        >>> [round(distance, 6) + 0.0 for distance in distances.tolist()]
        [0.0, 2.0]
    """
    check_clips(frames, reference.dim, MINIMUM_FRAMES)
    batches = list(_batches_of_equal_length(frames))
    stacks = (torch.stack([frames[index] for index in batch]).double() for batch in batches)
    values = torch.cat([_fad(stack, reference) for stack in stacks])
    positions = torch.tensor([index for batch in batches for index in batch])
    return values[positions.argsort()]


def dataset_fad(frames: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """FAD of all frames of all clips together from the reference: a scalar in squared embedding units.

    The distribution-to-distribution reward of DRAGON (arXiv 2504.15217); computed like `per_song_fad` of
    the one long clip. Differentiable in the frames, not in the reference.

    Args:
        frames: per clip a matrix (frames, d); at least 2 frames in all.
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are fewer than 2 frames, or a clip (named by its index) is empty, has NaN or infinite
            values, or another dimension than the reference.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, dataset_fad
        >>> reference = Gaussian.fit(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]))
        >>> clips = [torch.tensor([[0.0, 0.0], [2.0, 2.0]]) + 1, torch.tensor([[2.0, 0.0], [0.0, 2.0]]) + 1]
        >>> round(dataset_fad(clips, reference).item(), 6)
        2.0
    """
    pooled = pooled_clips(frames, reference.dim)
    _check_total(len(pooled))
    return _fad(pooled.unsqueeze(0), reference)[0]


def dataset_fad_subsets(frames: Sequence[Tensor], reference: Gaussian) -> Callable[[Tensor], Tensor]:
    """Prepare `dataset_fad` of many subsets of these clips: maps index rows (k, m) to distances (k,).

    Frames are whitened by the reference once, about the mean of all; a subset costs their scatter and one symmetric
    eigenvalue problem. Of rows valued together, what all have in common is summed once, so a row that differs in a few
    clips costs those clips alone; many rows that share little are summed over scatters of clips, if these fit. An index
    that occurs twice in a row counts twice. The result also has `expansion`, by which `select_positive` finds the
    exchanges that are worth valuing.

    Args:
        frames: per clip a matrix (frames, d).
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: as `dataset_fad`; the result refuses rows that are no indices of clips or hold fewer than 2
            frames.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, dataset_fad_subsets
        >>> clips = [torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]]), torch.tensor([[1.0], [3.0]])]
        >>> distance = dataset_fad_subsets(clips, Gaussian.fit(clips[0]))
        >>> [round(value, 6) + 0.0 for value in distance(torch.tensor([[0], [1], [2]])).tolist()]
        [0.0, 16.0, 1.0]
    """
    lengths, pooled = [len(clip) for clip in frames], pooled_clips(frames, reference.dim)
    device, centre = pooled.device, pooled.mean(0)
    centred = pooled - centre
    whitened = times_lower(centred, reference.factor.to(device))
    return _DatasetFadSubsets(
        shift=centre - reference.mean.detach().to(device),
        reference_trace=reference.covariance.detach().trace().to(device),
        counts=torch.tensor(lengths, dtype=torch.float64, device=device),
        squares=torch.stack([clip.square().sum() for clip in centred.split(lengths)]),
        sums=torch.stack([clip.sum(0) for clip in centred.split(lengths)]),
        whitened_sums=torch.stack([clip.sum(0) for clip in whitened.split(lengths)]),
        whitened=whitened,
    )


@dataclass(frozen=True, eq=False)
class _DatasetFadSubsets:
    """Moments of clips about a common centre: `centre = shift + reference mean`; whitened means times W."""

    shift: Tensor  # (d,)
    reference_trace: Tensor  # ()
    counts: Tensor  # (clips,)
    squares: Tensor  # (clips,) sum over frames of |x|^2
    sums: Tensor  # (clips, d)
    whitened_sums: Tensor  # (clips, d)
    whitened: Tensor  # (frames, d), clip after clip

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.counts))
        if len(rows) == 0:
            return self.counts.new_empty(0)
        size = max(1, min(BATCH_ROWS, BATCH_ELEMENTS // self.whitened.shape[1] ** 2))
        batches, many = torch.split(rows.to(self.counts.device).long(), size), len(rows) >= MANY_ROWS
        return torch.cat([self._distances(batch, many=many) for batch in batches])

    def expansion(self, clips: Tensor, weights: Tensor, moves: Tensor) -> Expansion:
        """Expand the distance about the mixture in which clip clips[i] counts weights[i] times.

        The mixture has c frames, mean m and covariance S. Moves that change the mean by u, and S by E - c / (c - 1)
        u u^T, lead to |m + u - m_r|^2 + tr S + tr E - c / (c - 1) |u|^2 + tr S_r - 2 cross: all but the cross term is
        quadratic as it stands. Of second order where moves leave c as it is, else of first.

        Args:
            clips: indices (k,) of clips whose frames span those of all sets that moves reach.
            weights: (k,), positive.
            moves: changes of the weights, (moves, k).

        Raises:
            DragonError: `clips` holds no indices of clips, or the mixture less than 2 frames.
        """
        check_rows(clips.unsqueeze(0), len(self.counts))
        scattered = self.counts.new_zeros(1 + len(moves), len(self.counts))
        scattered.index_add_(1, clips.to(self.counts.device), torch.cat([weights.unsqueeze(0), moves]).to(self.counts))
        weights, moves = scattered[0], scattered[1:]
        _check_total(int(weights @ self.counts))
        with torch.no_grad():
            outer, cross = self._outer_terms(weights, moves), self._cross_term(weights, moves)
        return Expansion((outer.slope - 2 * cross.slope).cpu(), (outer.curvature - 2 * cross.curvature).cpu())

    def _outer_terms(self, weights: Tensor, moves: Tensor) -> Expansion:
        """Of |m - m_r|^2 + tr S; frames added beyond those removed only dilute what is there."""
        count, added = weights @ self.counts, moves @ self.counts
        mean = weights @ self.sums / count
        trace = (weights @ self.squares - count * mean.square().sum()) / (count - 1)
        squares = self.squares - 2 * self.sums @ mean + self.counts * mean.square().sum()
        steps = (moves @ self.sums - torch.outer(added, mean)) / count
        slope = 2 * steps @ (self.shift + mean) + (moves @ squares - added * trace) / (count - 1)
        return Expansion(slope, steps @ steps.mT / (1 - count))  # 1 - c / (c - 1)

    def _cross_term(self, weights: Tensor, moves: Tensor) -> Expansion:
        """Of tr P^1/2 for P = W^T S W: the slope is 1/2 tr P^-1/2 dP, frames are taken in the axes of P."""
        count, added = weights @ self.counts, moves @ self.counts
        mean = weights @ self.whitened_sums / count
        roots, axes = _principal_axes((self._products(weights) - count * torch.outer(mean, mean)) / (count - 1))
        frames = (self.whitened - mean).float() @ (axes / roots.sqrt()).float()  # it guides, and decides nothing
        clips = frames.split(self.counts.long().tolist())
        energies = moves @ torch.stack([clip.square().sum() for clip in clips]).double() - added * roots.sum()
        steps = moves @ torch.stack([clip.sum(0) for clip in clips]).double() / count
        bends = root_curvature(clips, moves, added, roots) / (count - 1)
        return Expansion(energies / 2 / (count - 1), -(steps @ steps.mT * count / 2 + bends / 4) / (count - 1))

    def _distances(self, rows: Tensor, *, many: bool) -> Tensor:
        times = self.counts.new_zeros(len(rows), len(self.counts))
        times.scatter_add_(1, rows, times.new_ones(rows.shape))
        count = (times @ self.counts).unsqueeze(1)
        _check_total(int(count.min()))
        mean = times @ self.sums / count
        trace = (times @ self.squares - count[:, 0] * mean.square().sum(1)) / (count[:, 0] - 1)
        shift = (self.shift + mean).square().sum(1)
        cross = _traced_root(eigenvalues(self._covariances(times, count, many=many)))
        return (shift + trace + self.reference_trace - 2 * cross).clamp(min=0)

    def _covariances(self, times: Tensor, count: Tensor, *, many: bool) -> Tensor:
        """W^T S W of each subset, (k, d, d)."""
        mean, count = (times @ self.whitened_sums / count).unsqueeze(2), count.unsqueeze(2)
        return (self._squares(times, many=many) - count * mean * mean.mT) / (count - 1)

    def _squares(self, times: Tensor, *, many: bool) -> Tensor:
        """Sum of x x^T over the frames x of each subset, whose clips count `times` (k, clips): (k, d, d).

        The lower triangle alone is sure to be filled.
        """
        shared = times.amin(0)
        alone = times - shared
        if many and self._fits and 2 * alone.count_nonzero() > times.count_nonzero():
            squares = times.new_zeros(len(times), *self.whitened.shape[1:] * 2)
            squares[:, *self._lower] = times @ self._clip_products
            return squares
        common = self._products(shared)
        return torch.stack([common + self._products(own) for own in alone])

    @property
    def _fits(self) -> bool:
        """Whether the products of all clips may be kept: in memory, and without gradients from one call to the next."""
        return not self.whitened.requires_grad and len(self.counts) * self._lower.shape[1] <= KEPT_ELEMENTS

    @cached_property
    def _lower(self) -> Tensor:
        """Rows and columns of the lower triangle, (2, d (d + 1) / 2)."""
        return torch.tril_indices(*self.whitened.shape[1:] * 2, device=self.whitened.device)

    @cached_property
    def _clip_products(self) -> Tensor:
        """Lower triangles of the sum of x x^T over each clip's frames x, (clips, d (d + 1) / 2): times it, sets sum."""
        clips = self.whitened.split(self.counts.long().tolist())
        return torch.stack([scatter(clip)[*self._lower] for clip in clips])

    def _products(self, times: Tensor) -> Tensor:
        """Sum of x x^T over the frames x of clips that count `times` (clips,): (d, d)."""
        each = times.repeat_interleave(self.counts.long())
        used = each.nonzero()[:, 0]
        return scatter(self.whitened[used] * each[used, None].sqrt())


def _fad(frames: Tensor, reference: Gaussian) -> Tensor:
    """FAD of frames (clips, n, d), which it centres in place, from the reference: (clips,)."""
    mean, degrees = frames.mean(1), frames.shape[1] - 1
    trace, cross = _trace_and_cross(frames.sub_(mean.unsqueeze(1)), reference.factor.to(frames.device))
    shift = (mean - reference.mean.detach().to(frames.device)).square().sum(1)
    reference_trace = reference.covariance.detach().trace().to(frames.device)
    return (shift + trace / degrees + reference_trace - 2 * cross / sqrt(degrees)).clamp(min=0)


def _trace_and_cross(centred: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Of the scatters S = X^T X for centred X (clips, n, d): tr S and tr (W^T S W)^1/2, by the smaller problem."""
    rows, columns = centred.shape[1:]
    if rows < columns:
        singular_values: Tensor = torch.linalg.svdvals(
            times_lower(centred, factor).mT
        )  # tall: LAPACK is slower on wide matrices
        return centred.square().sum((1, 2)), singular_values.sum(1)
    squares = scatter(centred)
    return squares.diagonal(dim1=1, dim2=2).sum(1), _traced_root(congruent_eigenvalues(squares, factor))


def _traced_root(values: Tensor) -> Tensor:
    """Trace of P^1/2 for positive semi-definite matrices of these eigenvalues (..., d)."""
    return principal_roots(values).sum(-1)


def _principal_axes(product: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of the eigenvalues of P (d, d) that are not zero, (r,), and their eigenvectors (d, r)."""
    values: Tensor
    values, axes = torch.linalg.eigh(product)
    roots = principal_roots(values)
    return roots[roots > 0], axes[:, roots > 0]


def _batches_of_equal_length(clips: Sequence[Tensor]) -> Iterator[list[int]]:
    """Indices of clips with equally many frames, in batches of bounded memory."""
    by_length: dict[int, list[int]] = {}
    for index, clip in enumerate(clips):
        by_length.setdefault(len(clip), []).append(index)
    for length, indices in by_length.items():
        dim = clips[0].shape[1]
        size = max(1, BATCH_ELEMENTS // (max(length, dim) * dim))
        yield from (indices[start : start + size] for start in range(0, len(indices), size))


def _check_total(frames: int) -> None:
    if frames < MINIMUM_FRAMES:
        raise DragonError(f"a set of clips needs at least {MINIMUM_FRAMES} frames in all, not {frames}")
