"""Fréchet audio distance (FAD) between Gaussians, of single clips and of sets of clips; `subsets` has it of many sets.

Every form is, in squared embedding units (Dowson and Landau 1982; FAD: Kilgour et al., arXiv 1812.08466),

    |mu - mu_r|^2 + tr S + tr S_r - 2 tr (S_r^1/2 S S_r^1/2)^1/2

They differ in how they reach the last term, the cross term: it is also tr (W^T S W)^1/2 for any W with W W^T = S_r, and
a triangular W takes half the work.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.metrics.cross import (
    nuclear_norm,
    roots_are_sure,
    trace_and_cross,
    trace_and_cross_of,
    traced_root,
)
from dragon_rewards.metrics.frames import (
    MINIMUM_FRAMES,
    batches_of_equal_length,
    check_clips,
    check_dim,
    check_total,
    in_float64,
    in_order,
    pooled_clips,
)
from dragon_rewards.metrics.linalg import congruent_eigenvalues, on_accelerator, scatter, times_lower

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from dragon_rewards.metrics.gaussian import Gaussian

BATCH_ELEMENTS = 2**24  # float64 values of one array of a batch: 128 MiB; four to five of them live at once
MANY = 2**22  # values of a set that takes 32 MiB in float64; of more, a block at a time is brought there


def frechet_distance(a: Gaussian, b: Gaussian) -> Tensor:
    """Return the squared Fréchet distance of two Gaussians: a scalar >= 0 in squared embedding units.

        |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_b^1/2 S_a S_b^1/2)^1/2

    (Dowson and Landau 1982). The cross term is the sum of the roots of the eigenvalues of W^T S_a W, for S_b = W W^T;
    where these lose digits, it is the sum of the singular values of the product of both factors. Differentiable (once)
    in mean and covariance of both; directions in which the product has no variance pass no gradient. Accurate to 1e-10
    of the traces where both were fitted to frames or are well-conditioned; a covariance alone leaves what
    `Gaussian.factor` says.

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
    values = congruent_eigenvalues(a.covariance, b.factor)
    sure = roots_are_sure(values, a.covariance, b.factor)
    cross = traced_root(values, sure)
    if not sure:
        cross = cross + (nuclear_norm(a.factor.mT @ b.factor) - cross).detach()
    if b.covariance.requires_grad:  # the term is symmetric, and the slope in b is read off its mirror image
        mirrored = traced_root(congruent_eigenvalues(b.covariance, a.factor), sure)
        cross = cross + mirrored - mirrored.detach()
    shift = (a.mean - b.mean).square().sum()
    return (shift + a.covariance.trace() + b.covariance.trace() - 2 * cross).clamp(min=0)


def per_song_fad(frames: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """Return the FAD of each clip's own frames from the reference, (clips,), in squared embedding units.

    For the mean mu and covariance S of the clip's frames, smaller is better:

        FAD = |mu - mu_r|^2 + tr S + tr S_r - 2 tr (S_r^1/2 S S_r^1/2)^1/2

    It is the instance-to-distribution reward of DRAGON (arXiv 2504.15217). The cross term is the nuclear norm of Xc W /
    sqrt(n - 1) for the centred frames Xc (n, d) and S_r = W W^T, see `cross`. Accurate to 1e-10 of the squared distance
    of the means plus both traces, if the reference was fitted to frames or is well-conditioned; see `Gaussian.factor`
    for others. Differentiable in the frames, not in the reference.

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
    lengths, dim = [len(clip) for clip in frames], reference.dim
    least = 0 if on_accelerator(frames[0]) else dim  # frames of a clip, so that a CPU's caches hold a batch of few
    batches = list(batches_of_equal_length(lengths, lambda length: max(length, least) * dim, BATCH_ELEMENTS))
    return in_order([_fads([frames[index] for index in batch], reference) for batch in batches], batches)


def dataset_fad(frames: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """Return the FAD of all frames of all clips together from the reference: a scalar in squared embedding units.

    For the mean mu and covariance S of all frames:

        FAD = |mu - mu_r|^2 + tr S + tr S_r - 2 tr (S_r^1/2 S S_r^1/2)^1/2

    It is the distribution-to-distribution reward of DRAGON (arXiv 2504.15217), computed like `per_song_fad` of the one
    long clip, and as accurate. Differentiable in the frames, not in the reference.

    Args:
        frames: per clip a matrix (frames, d); at least 2 frames in all.
        reference: the Gaussian of the exemplar set.

    Raises:
        DragonError: there are fewer than 2 frames, or a clip (named by its index) is empty, has NaN or infinite values,
            or another dimension than the reference.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, dataset_fad
        >>> reference = Gaussian.fit(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]))
        >>> clips = [torch.tensor([[0.0, 0.0], [2.0, 2.0]]) + 1, torch.tensor([[2.0, 0.0], [0.0, 2.0]]) + 1]
        >>> round(dataset_fad(clips, reference).item(), 6)
        2.0
    """
    if _are_many(frames):
        check_clips(frames, reference.dim, 1)
        return _fad_of_many(frames, reference)
    pooled = pooled_clips(frames, reference.dim)
    check_total(len(pooled))
    return fads_of_stack(pooled.unsqueeze(0), reference)[0]


def fads_of_stack(frames: Tensor, reference: Gaussian) -> Tensor:
    """Return the FAD of each clip from the reference, (clips,), in squared embedding units.

    Args:
        frames: (clips, n, d) in float64; they are centred in place.
        reference: the Gaussian of the exemplar set.
    """
    mean, degrees = frames.mean(1), frames.shape[1] - 1
    trace, cross = trace_and_cross(frames.sub_(mean.unsqueeze(1)), reference.factor.to(frames.device))
    shift = (mean - reference.mean.detach().to(frames.device)).square().sum(1)
    reference_trace = reference.covariance.detach().trace().to(frames.device)
    return (shift + trace / degrees + reference_trace - 2 * cross / sqrt(degrees)).clamp(min=0)


def _fads(clips: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """Return the FAD of each of some clips of one length (n, d): (clips,)."""
    if len(clips) == 1 and _are_many(clips):
        return _fad_of_many(clips, reference)[None]
    joined = in_float64(torch.cat(list(clips)))
    return fads_of_stack(joined.view(len(clips), -1, joined.shape[1]), reference)


def _are_many(clips: Sequence[Tensor]) -> bool:
    """Return whether the clips are better brought to float64 in blocks; with gradients, all are kept in any case."""
    wanted = torch.is_grad_enabled() and any(clip.requires_grad for clip in clips)
    return not wanted and sum(clip.numel() for clip in clips) > MANY


def _fad_of_many(clips: Sequence[Tensor], reference: Gaussian) -> Tensor:
    """Return the FAD of all frames together, of which there are more than dimensions: a scalar.

    Their scatter is the sum of the scatters of the blocks, so that one block at a time is in float64.
    """
    count, factor = sum(map(len, clips)), reference.factor.to(clips[0].device)
    mean = torch.stack([in_float64(block).sum(0) for block in _blocks(clips)]).sum(0) / count
    squares = mean.new_zeros(1, len(mean), len(mean))
    for block in _blocks(clips):
        squares += scatter(in_float64(block) - mean)

    def by_triangle(_: Tensor) -> Tensor:
        return nuclear_norm(times_lower(_triangle(clips, mean)[None], factor))

    trace, cross = trace_and_cross_of(squares, factor, by_triangle)
    fixed = reference.mean.detach().to(mean.device), reference.covariance.detach().trace().to(mean.device)
    distance = (mean - fixed[0]).square().sum() + trace[0] / (count - 1) + fixed[1] - 2 * cross[0] / sqrt(count - 1)
    return distance.clamp(min=0)


def _blocks(clips: Sequence[Tensor]) -> Iterator[Tensor]:
    """Yield all frames in order, at most a quarter of `MANY` values at a time: parts of clips, or clips joined."""
    most = max(1, MANY // (4 * clips[0].shape[1]))
    held: list[Tensor] = []
    for part in (part for clip in clips for part in clip.split(most)):
        if held and sum(map(len, held)) + len(part) > most:
            yield torch.cat(held)
            held = []
        held.append(part)
    yield torch.cat(held)


def _triangle(clips: Sequence[Tensor], mean: Tensor) -> Tensor:
    """Return R of the centred frames X = Q R, which stands for them: X W has the singular values of R W.

    It is found block by block, as R of the last triangle stacked upon the next block (Demmel et al. 2012, arXiv
    0808.2664).
    """
    triangle = mean.new_zeros(0, len(mean))
    for block in _blocks(clips):
        triangle = torch.linalg.qr(torch.cat([triangle, in_float64(block) - mean]), mode="r")[1]
    return triangle
