"""Which clips of a set hurt: what each of them contributes to the Fréchet audio distance (FAD) of all."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError, TooFewClipsError
from dragon_rewards.metrics.cross import roots_are_sure, settled, traced_root
from dragon_rewards.metrics.frames import (
    MINIMUM_FRAMES,
    batches_of_equal_length,
    clip_sums,
    in_order,
    over_clips,
    pooled_clips,
)
from dragon_rewards.metrics.frechet import dataset_fad, fads_of_stack
from dragon_rewards.metrics.gaussian import ROUNDING, Moments
from dragon_rewards.metrics.linalg import congruent_eigenvalues, on_accelerator, scatter, times_lower

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from dragon_rewards.metrics.gaussian import Gaussian

REMAINDER = 10  # times a remainder's trace: of all frames whose moments it may be what is left of
MINIMUM_CLIPS = 2  # a clip contributes to what the others make without it
BATCH_ELEMENTS = 2**24  # float64 values of one array of a batch: 128 MiB; four to five of them live at once


@dataclass(frozen=True, eq=False)
class ClipContributions:
    """What every clip adds to the FAD of a set, in squared embedding units; where it is positive, the clip hurts.

    Attributes:
        value: the FAD of all clips together, a scalar.
        leave_one_out: the FAD of all clips less the FAD of all clips except this one, (clips,).
        marginal: the slope of the FAD in the weight of this clip's frames, at weight 1, (clips,): leave-one-out to
            first order.
    """

    value: Tensor
    leave_one_out: Tensor
    marginal: Tensor


def clip_contributions(frames: Sequence[Tensor], reference: Gaussian) -> ClipContributions:
    """Return the contribution of each clip to `dataset_fad`, exact (leave-one-out) and to first order (marginal).

        leave_one_out_c = FAD(all clips) - FAD(all clips except c)

    It takes each clip's moments off the moments of all frames, then one symmetric eigenvalue problem per clip. The
    marginal needs one problem in all: for frames of weight w, which count as w frames, it is the sum over the clip's
    frames x

        2 (mu - mu_r)^T (x - mu) / n + [(x - mu)^T G (x - mu) - tr G S] / (n - 1)

    for G = dFAD/dS = I - T, where T is the optimal transport map from S to S_r (Olkin and Pukelsheim 1982; gradient:
    Bhatia, Jain and Lim, arXiv 1712.01504):

        T = S_r^1/2 (S_r^1/2 S S_r^1/2)^-1/2 S_r^1/2

    Where S has no full rank, its pseudo-inverse serves: weights move S only within its own range. Distances are as
    accurate as `dataset_fad`, which is taken clip by clip where taking moments off would lose digits. Without gradient.

    Args:
        frames: per clip a matrix (frames, d); at least 2 clips.
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are fewer than 2 clips; without one of them (named by its index) fewer than 2 frames remain;
            a clip is empty, has NaN or infinite values, or another dimension than the reference.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, clip_contributions
        >>> clips = [torch.tensor([[0.0], [2.0]]), torch.tensor([[9.0], [8.0]]), torch.tensor([[1.0], [3.0]])]
        >>> found = clip_contributions(clips, Gaussian.fit(clips[0]))
        >>> [round(value, 2) for value in found.leave_one_out.tolist()]
        [-10.51, 13.28, -9.58]
        >>> int(found.marginal.argmax())
        1
    """
    pooled = pooled_clips([clip.detach() for clip in frames], reference.dim)
    lengths = [len(clip) for clip in frames]
    _check_remainders(lengths)
    whole = Moments.of(pooled)
    centred, factor = pooled - whole.mean, reference.factor.to(pooled.device)
    without = _without(whole, centred, lengths, reference)
    value = dataset_fad([pooled], reference)
    return ClipContributions(value, value - without, _marginal(whole, centred, lengths, factor, reference))


def _check_remainders(counts: Sequence[int]) -> None:
    if len(counts) < MINIMUM_CLIPS:
        raise TooFewClipsError(f"contributions compare at least {MINIMUM_CLIPS} clips, and there is {len(counts)}")
    for index, count in enumerate(counts):
        left = sum(counts) - count
        if left < MINIMUM_FRAMES:
            raise DragonError(f"without clip {index} there is {left} frame, and at least {MINIMUM_FRAMES} are needed")


def _without(whole: Moments, centred: Tensor, lengths: Sequence[int], reference: Gaussian) -> Tensor:
    """Return the FAD of all frames except each clip's, (clips,); frames are given about the mean of all."""

    def anew(which: Tensor) -> Tensor:
        return _one_by_one(which.tolist(), whole.mean, centred, lengths, reference)

    if whole.count <= reference.dim:  # no covariance has full rank, and no way by moments would be sure
        return anew(torch.arange(len(lengths)))
    found = over_clips(
        lambda clips: torch.stack(_fads_without(clips, whole, reference), 1),
        centred,
        lengths,
        reference.dim**2,
        BATCH_ELEMENTS,
    )
    return settled(found[:, 0], found[:, 1] > 0, anew)


def _fads_without(clips: Tensor, whole: Moments, reference: Gaussian) -> tuple[Tensor, Tensor]:
    """Return the FAD of all frames except those in one of the clips, (k,), and where that value is sure, (k,).

    The clips (k, n, d) are given about the mean of all frames. This is the inverse of a merge; a remainder that is
    small beside what was taken off is not sure.
    """
    left, device = whole.count - clips.shape[1], clips.device
    shift = -clips.sum(1) / left
    squares = (whole.scatter - scatter(clips)).baddbmm_(shift.unsqueeze(2), shift.unsqueeze(1), alpha=-left)
    factor, trace = reference.factor.to(device), squares.diagonal(dim1=1, dim2=2).sum(1)
    values = congruent_eigenvalues(squares, factor)
    sure = roots_are_sure(values, squares, factor) & (trace * REMAINDER >= whole.scatter.trace())
    apart = (whole.mean + shift - reference.mean.detach().to(device)).square().sum(1)
    traces = trace / (left - 1) + reference.covariance.detach().trace().to(device)
    return (apart + traces - 2 * traced_root(values, sure) / sqrt(left - 1)).clamp(min=0), sure


def _one_by_one(
    clips: Sequence[int], mean: Tensor, centred: Tensor, lengths: Sequence[int], reference: Gaussian
) -> Tensor:
    """Return the FAD without each of these clips, (k,), from the frames of the others, which are stacked."""
    clip_of_frame = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    frames, dim = len(centred), centred.shape[1]
    removed = [lengths[clip] for clip in clips]
    batches = list(batches_of_equal_length(removed, lambda length: (frames - length) * dim, BATCH_ELEMENTS))
    found = []
    for batch in batches:
        others = torch.stack([(clip_of_frame != clips[place]).nonzero()[:, 0] for place in batch])
        found.append(fads_of_stack(centred[others.to(centred.device)] + mean, reference))
    return in_order(found, batches)


def _marginal(whole: Moments, centred: Tensor, lengths: Sequence[int], factor: Tensor, reference: Gaussian) -> Tensor:
    """Return the slopes of the FAD in the weight of each clip's frames, (clips,)."""
    shift = whole.mean - reference.mean.detach().to(centred.device)
    energies = _transported(centred, factor) * sqrt(whole.count - 1)
    cross = energies.sum()  # (n - 1) tr T S
    spreads = centred.square().sum(1) - energies - (whole.scatter.trace() - cross) / (whole.count - 1)
    slopes = 2 * centred @ shift / whole.count + spreads / (whole.count - 1)
    return clip_sums(slopes, lengths)


def _transported(centred: Tensor, factor: Tensor) -> Tensor:
    """Return x^T T x / sqrt(n - 1) of every centred frame x, (frames,).

    T = W P^-1/2 W^T for P = W^T S W, where X^T X = (n - 1) S. For singular vectors u_k and values s_k of X W that makes

        sum_k u_xk^2 s_k:

    nothing is divided by what may be all rounding.
    """
    vectors, sizes = _singular_vectors(times_lower(centred, factor))
    return (vectors.square() * torch.where(sizes > ROUNDING * sizes.amax(), sizes, 0.0)).sum(1)


def _singular_vectors(whitened: Tensor) -> tuple[Tensor, Tensor]:
    """Return the left singular vectors (n, k) and singular values (k,) of X W (n, d).

    An accelerator is slow at them. Axes of the Gram matrix turn X W into columns that are orthogonal up to rounding of
    the largest and, to second order, as long as the singular values: no root of an eigenvalue is taken.
    """
    if on_accelerator(whitened):
        turned = whitened @ torch.linalg.eigh(scatter(whitened))[1]
        sizes: Tensor = torch.linalg.vector_norm(turned, dim=0)
        return turned / torch.where(sizes > 0, sizes, 1.0), sizes
    vectors, sizes, _ = torch.linalg.svd(whitened, full_matrices=False)
    return vectors, sizes
