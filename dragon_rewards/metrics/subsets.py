"""The FAD of many subsets of the same clips (see `dataset_fad`), and how exchanges of clips would change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from dragon_rewards.metrics.cross import (
    nuclear_norm,
    root_curvature,
    roots_are_sure,
    settled,
    traced_root,
    worst_is_small,
)
from dragon_rewards.metrics.frames import check_rows, check_total, clip_sums, over_clips, pooled_clips
from dragon_rewards.metrics.frechet import BATCH_ELEMENTS
from dragon_rewards.metrics.gaussian import principal_roots
from dragon_rewards.metrics.linalg import eigenvalues, on_accelerator, scatter, times_lower
from dragon_rewards.metrics.selection import Expansion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.metrics.gaussian import Gaussian

MANY_ROWS = 16  # subsets of one call that pay for the scatters of clips; the selection's first call has two
WORST = 1e-10  # of the cross term, which is at most half of both traces: 1e-10 of them is what a distance may err by
KEPT_ELEMENTS = 2**26  # float64 values that are kept between calls: 512 MiB, 500 clips in 512 dimensions
BATCH_ROWS = 8  # subsets that share a sum on the CPU: the more there are, the less is common to all


def dataset_fad_subsets(frames: Sequence[Tensor], reference: Gaussian) -> Callable[[Tensor], Tensor]:
    """Prepare `dataset_fad` of many subsets of these clips: the result maps index rows (k, m) to distances (k,).

    For the mean mu and covariance S of the frames of a subset, in squared embedding units:

        FAD = |mu - mu_r|^2 + tr S + tr S_r - 2 tr (W^T S W)^1/2,    S_r = W W^T

    Frames are whitened by the reference once, about the mean of all; a subset costs their scatter and one symmetric
    eigenvalue problem. Of rows valued together, what all have in common is summed once, so a row that differs in a few
    clips costs those clips alone; many rows that share little are summed over scatters of clips, if these fit. An index
    that occurs twice in a row counts twice. The result also has `expansion`, by which `select_positive` finds the
    exchanges that are worth valuing.

    Subsets are valued by the eigenvalues of their whitened frames' Gram matrices where these lose nothing, by the worst
    that rounding can do or by what `cross.roots_are_sure` finds of the first in doubt. Others are valued by singular
    values, which take several times as long. Accurate to 1e-10 of the traces, as `dataset_fad`.

    Args:
        frames: per clip a matrix (frames, d).
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are no clips, or a clip (named by its index) is empty, has NaN or infinite values, or another
            dimension than the reference; the result refuses rows that are no indices of clips or hold fewer than 2
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
        lengths=lengths,
        counts=torch.tensor(lengths, dtype=torch.float64, device=device),
        squares=clip_sums(centred.square().sum(1), lengths),
        sums=clip_sums(centred, lengths),
        whitened_sums=clip_sums(whitened, lengths),
        whitened=whitened,
        centred=centred,
        factor=reference.factor.to(device),
        reference_count=reference.count,
    )


@dataclass(frozen=True, eq=False)
class _DatasetFadSubsets:
    """The moments of clips about a common centre, from which any subset is valued.

    The centre is `shift` plus the reference's mean. Whitened means: multiplied by W.
    """

    shift: Tensor  # (d,)
    reference_trace: Tensor  # ()
    lengths: Sequence[int]  # frames of each clip
    counts: Tensor  # (clips,) the lengths as float64
    squares: Tensor  # (clips,) sum over frames of |x|^2
    sums: Tensor  # (clips, d)
    whitened_sums: Tensor  # (clips, d)
    whitened: Tensor  # (frames, d), clip after clip
    centred: Tensor  # (frames, d), the frames before they were whitened
    factor: Tensor  # (d, d) what whitened them
    reference_count: int  # the frames behind the factor
    verdicts: list[Tensor] = field(default_factory=list)  # of the first subset that had to be looked at

    def __call__(self, rows: Tensor) -> Tensor:
        check_rows(rows, len(self.counts))
        if len(rows) == 0:
            return self.counts.new_empty(0)
        check_total(int(torch.tensor(self.lengths)[rows.cpu().long()].sum(1).min()))
        size = max(1, BATCH_ELEMENTS // self.whitened.shape[1] ** 2)
        size = size if on_accelerator(self.counts) else min(BATCH_ROWS, size)
        batches, many = torch.split(rows.to(self.counts.device).long(), size), len(rows) >= MANY_ROWS
        return torch.cat([self._distances(batch, many=many) for batch in batches])

    def expansion(self, clips: Tensor, weights: Tensor, moves: Tensor) -> Expansion:
        """Expand the distance about the mixture in which clip clips[i] counts weights[i] times.

        The mixture has c frames, mean m and covariance S. Moves that change the mean by u, and S by E - c / (c - 1) u
        u^T, lead to

            |m + u - m_r|^2 + tr S + tr E - c / (c - 1) |u|^2 + tr S_r - 2 cross,

        of which all except the cross term is quadratic as it stands. The expansion is of second order where moves leave
        c as it is, else of first.

        Args:
            clips: indices (k,) of clips whose frames span the frames of all sets that moves reach.
            weights: (k,), positive.
            moves: changes of the weights, (moves, k).

        Raises:
            DragonError: `clips` holds no indices of clips, or the mixture less than 2 frames.
        """
        check_rows(clips.unsqueeze(0), len(self.counts))
        check_total(int(weights.cpu().double() @ torch.tensor(self.lengths).double()[clips.cpu()]))
        scattered = self.counts.new_zeros(1 + len(moves), len(self.counts))
        scattered.index_add_(1, clips.to(self.counts.device), torch.cat([weights.unsqueeze(0), moves]).to(self.counts))
        weights, moves = scattered[0], scattered[1:]
        with torch.no_grad():
            outer, cross = self._outer_terms(weights, moves), self._cross_term(weights, moves)
        return Expansion((outer.slope - 2 * cross.slope).cpu(), (outer.curvature - 2 * cross.curvature).cpu())

    def _outer_terms(self, weights: Tensor, moves: Tensor) -> Expansion:
        """Expand |m - m_r|^2 + tr S; frames added beyond those removed only dilute what is there."""
        count, added = weights @ self.counts, moves @ self.counts
        mean = weights @ self.sums / count
        trace = (weights @ self.squares - count * mean.square().sum()) / (count - 1)
        squares = self.squares - 2 * self.sums @ mean + self.counts * mean.square().sum()
        steps = (moves @ self.sums - torch.outer(added, mean)) / count
        slope = 2 * steps @ (self.shift + mean) + (moves @ squares - added * trace) / (count - 1)
        return Expansion(slope, steps @ steps.mT / (1 - count))  # 1 - c / (c - 1)

    def _cross_term(self, weights: Tensor, moves: Tensor) -> Expansion:
        """Expand tr P^1/2 for P = W^T S W: the slope is 1/2 tr P^-1/2 dP, and frames are taken in the axes of P."""
        count, added = weights @ self.counts, moves @ self.counts
        mean = weights @ self.whitened_sums / count
        roots, axes = _principal_axes((self._products(weights) - count * torch.outer(mean, mean)) / (count - 1))
        frames = (self.whitened - mean).float() @ (axes / roots.sqrt()).float()  # it guides, and decides nothing
        energies = moves @ clip_sums(frames.square().sum(1), self.lengths).double() - added * roots.sum()
        steps = moves @ clip_sums(frames, self.lengths).double() / count
        bends = root_curvature(frames, self.lengths, moves, added, roots) / (count - 1)
        return Expansion(energies / 2 / (count - 1), -(steps @ steps.mT * count / 2 + bends / 4) / (count - 1))

    def _distances(self, rows: Tensor, *, many: bool) -> Tensor:
        times = self.counts.new_zeros(len(rows), len(self.counts))
        times.scatter_add_(1, rows, times.new_ones(rows.shape))
        count = (times @ self.counts).unsqueeze(1)
        mean = times @ self.sums / count
        trace = (times @ self.squares - count[:, 0] * mean.square().sum(1)) / (count[:, 0] - 1)
        shift = (self.shift + mean).square().sum(1)
        cross = self._cross(times, count, many=many)
        return (shift + trace + self.reference_trace - 2 * cross).clamp(min=0)

    def _cross(self, times: Tensor, count: Tensor, *, many: bool) -> Tensor:
        """Return the cross term of each subset, (k,).

        Of n different frames, and of a reference of m, the largest n - 1 or m - 1 eigenvalues at most are no rounding.
        """
        values, different = eigenvalues(self._covariances(times, count, many=many)), (times > 0).double() @ self.counts
        places = torch.arange(values.shape[1], 0, -1, device=values.device)
        values = torch.where(places < different.clamp(max=self.reference_count)[:, None], values, 0.0)
        cross, sure = traced_root(values), worst_is_small(values, WORST)
        if bool(sure.all()):
            return cross
        enough = different > values.shape[1]
        sure = sure | (enough & self._verdict(values, times, ~sure & enough))
        return settled(traced_root(values, sure), sure, lambda which: self._by_singular_values(times[which]))

    def _by_singular_values(self, times: Tensor) -> Tensor:
        """Return the cross term (k,) of subsets in which clips count `times` (k, clips).

        A frame that counts t times has the weight sqrt t. Frames of weight 0 leave the norm as it is: a CPU spares
        them, and an accelerator takes many subsets at once.
        """
        counts = times @ self.counts
        means = times @ self.whitened_sums / counts[:, None]
        weights = times[:, self._clip_of_frame].sqrt()
        size = max(1, BATCH_ELEMENTS // self.whitened.numel()) if on_accelerator(times) else 1
        parts = zip(means.split(size), weights.split(size), strict=True)
        found = [nuclear_norm(self._about(mean, weight)) for mean, weight in parts]
        return torch.cat(found) / (counts - 1).sqrt()

    def _about(self, means: Tensor, weights: Tensor) -> Tensor:
        """Return the whitened frames about means (k, d), each times its weight (k, frames): (k, frames, d)."""
        frames = self.whitened
        if not on_accelerator(frames):
            used = weights[0].nonzero()[:, 0]
            frames, weights = frames[used], weights[:, used]
        return (frames - means[:, None]) * weights[:, :, None]

    def _verdict(self, values: Tensor, times: Tensor, doubtful: Tensor) -> Tensor:
        """Return whether eigenvalues (k, d) were good for the first doubtful subset, (): others have like frames."""
        if not self.verdicts and bool(doubtful.any()):
            first = int(doubtful.int().argmax())
            weights = times[first, self._clip_of_frame]
            used = weights.nonzero()[:, 0]
            frames, count = self.centred.detach()[used], weights.sum()
            mean = weights[used] @ frames / count
            squares = scatter((frames - mean) * weights[used, None].sqrt()) / (count - 1)
            self.verdicts.append(roots_are_sure(values[first], squares, self.factor))
        return self.verdicts[0] if self.verdicts else doubtful.new_zeros(())

    def _covariances(self, times: Tensor, count: Tensor, *, many: bool) -> Tensor:
        """Return W^T S W of each subset, (k, d, d)."""
        mean, count = (times @ self.whitened_sums / count).unsqueeze(2), count.unsqueeze(2)
        return (self._squares(times, many=many) - count * mean * mean.mT) / (count - 1)

    def _squares(self, times: Tensor, *, many: bool) -> Tensor:
        """Return the sum of x x^T over the frames x of each subset, whose clips count `times` (k, clips): (k, d, d).

        The lower triangle alone is sure to be filled.
        """
        if on_accelerator(times):
            return self._summed(times) if self._fits else torch.stack([self._products(own) for own in times])
        shared = times.amin(0)
        alone = times - shared
        if many and self._fits and 2 * alone.count_nonzero() > times.count_nonzero():
            return self._summed(times)
        common = self._products(shared)
        return torch.stack([common + self._products(own) for own in alone])

    def _summed(self, times: Tensor) -> Tensor:
        """Return the lower triangles of `_squares`, summed from the products of clips."""
        squares = times.new_zeros(len(times), *self.whitened.shape[1:] * 2)
        squares[:, *self._lower] = times @ self._clip_products
        return squares

    @property
    def _fits(self) -> bool:
        """Whether the products of all clips may be kept between calls: they fit in memory and have no gradients."""
        return not self.whitened.requires_grad and len(self.counts) * self._lower.shape[1] <= KEPT_ELEMENTS

    @cached_property
    def _lower(self) -> Tensor:
        """The rows and columns of the lower triangle, (2, d (d + 1) / 2)."""
        return torch.tril_indices(*self.whitened.shape[1:] * 2, device=self.whitened.device)

    @cached_property
    def _clip_products(self) -> Tensor:
        """The lower triangles of the sum of x x^T over each clip's frames x, (clips, d (d + 1) / 2).

        Times them, sets sum up.
        """
        lower, made = self._lower, self.whitened.shape[1] ** 2
        return over_clips(lambda clips: scatter(clips)[:, *lower], self.whitened, self.lengths, made)

    @cached_property
    def _clip_of_frame(self) -> Tensor:
        """The clip that each frame belongs to, (frames,)."""
        clips = torch.arange(len(self.lengths)).repeat_interleave(torch.tensor(self.lengths))
        return clips.to(self.whitened.device)

    def _products(self, times: Tensor) -> Tensor:
        """Return the sum of x x^T over the frames x of clips that count `times` (clips,): (d, d)."""
        each = times[self._clip_of_frame]
        if on_accelerator(times):  # which frames count is not asked: the answer would have to be waited for
            return scatter(self.whitened * each[:, None].sqrt())
        used = each.nonzero()[:, 0]
        return scatter(self.whitened[used] * each[used, None].sqrt())


def _principal_axes(product: Tensor) -> tuple[Tensor, Tensor]:
    """Return the roots of the eigenvalues of P (d, d) that are not zero, (r,), and their eigenvectors (d, r)."""
    values: Tensor
    values, axes = torch.linalg.eigh(product)
    roots = principal_roots(values)
    first = len(roots) - int((roots > 0).sum())  # they ascend
    return roots[first:], axes[:, first:]
