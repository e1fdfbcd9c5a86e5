"""The cross term of a Fréchet distance, tr (W^T S W)^1/2, by the cheapest way that rounding leaves good.

For centred frames X (n, d) of covariance S = X^T X / (n - 1) and a reference S_r = W W^T it is the sum of the singular
values of X W / sqrt(n - 1). So found, it errs by a few eps of |X| |W|, whatever the spectra. It is also the sum of the
roots of the eigenvalues of X W's Gram matrices: half the work, and one launch for a batch of them on an accelerator.
But a Gram matrix is off by eps of its largest eigenvalue, which costs the root of a small one p far more:

    eps max p / (2 sqrt p)

Roots of eigenvalues are taken where this is shown to lose nothing, else singular values. `root_curvature` tells how the
term bends under changes of S.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch

from dragon_rewards.metrics.frames import stacks
from dragon_rewards.metrics.gaussian import ROUNDING, principal_roots
from dragon_rewards.metrics.linalg import (
    congruent_eigenvalues,
    eigenvalues,
    on_accelerator,
    pivots,
    scatter,
    singular_values,
    times_lower,
    well_conditioned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

MISSED = 1e-13  # of the cross term: what rounding may have cost it by an estimate that can be a thousand times too low
STRIP = 128  # rows of all moves' matrices held at once
WORST = 1e-11  # of the cross term: what rounding may have cost it at worst
EPS = torch.finfo(torch.float64).eps


def trace_and_cross(centred: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return tr S and tr (W^T S W)^1/2, each (clips,), of the scatters S = X^T X of clips.

    The cross term is off by at most about 1e-10 of |X| |W|, of which it is not more; mostly by 1e-14. Differentiable in
    X.

    Args:
        centred: X, the centred frames (clips, n, d) in float64.
        factor: W, (d, d), lower triangular.
    """
    if centred.shape[1] >= centred.shape[2]:
        return _by_scatter(centred, factor)
    trace, frames = centred.square().sum((1, 2)), times_lower(centred, factor)
    return trace, _by_frames(frames) if on_accelerator(frames) else nuclear_norm(frames)


def trace_and_cross_of(squares: Tensor, factor: Tensor, otherwise: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Return tr S and tr (W^T S W)^1/2, each (k,), of scatters S.

    Args:
        squares: the scatters, (k, d, d).
        factor: W, (d, d), lower triangular.
        otherwise: finds the cross terms of scatters, given by their indices, whose small roots were lost to rounding.
    """
    values = congruent_eigenvalues(squares, factor)
    sure = roots_are_sure(values, squares, factor)
    return squares.diagonal(dim1=1, dim2=2).sum(1), settled(traced_root(values, sure), sure, otherwise)


def traced_root(values: Tensor, sure: Tensor | None = None) -> Tensor:
    """Return tr P^1/2 of positive semi-definite matrices P, given by their eigenvalues.

        tr P^1/2 = sum_i sqrt(p_i)

    Args:
        values: the eigenvalues, (..., d).
        sure: where the small eigenvalues are exact, (...); elsewhere, and by default, they count as zero.
    """
    return principal_roots(values, sure).sum(-1)


def nuclear_norm(frames: Tensor) -> Tensor:
    """Return the sum of the singular values of matrices (..., n, d): (...).

    Singular values within rounding of zero pass no gradient.
    """
    values = singular_values(frames)
    if not values.requires_grad:
        return values.sum(-1)
    kept = values > ROUNDING * values.amax(-1, keepdim=True)
    return torch.where(kept, values, 0.0).sum(-1)


def roots_are_sure(values: Tensor, squares: Tensor, factor: Tensor) -> Tensor:
    """Return whether the roots of the eigenvalues of W^T S W that were found are right: (...).

    The logarithms of the eigenvalues should sum to a figure that triangles give:

        log det W^T S W = 2 log det W + log det S

    What they miss, m, is the sum of all relative errors e / p, and nearly all of it is due to the smallest p. For
    errors e alike in size, the errors e / (2 sqrt p) of the roots then sum to

        m sum p^-1/2 / (2 sum p^-1),

    which is what is tested. Of random spectra with condition numbers up to 1e16 none that was off by 2e-11 of |X| |W|
    passed (tests).

    Args:
        values: the eigenvalues, (..., d).
        squares: S, (..., d, d).
        factor: W, (d, d), lower triangular.
    """
    values, diagonal = values.detach(), pivots(squares)
    expected = 2 * (diagonal.log().sum(-1) + factor.diagonal().abs().log().sum(-1))
    missed = (values.log().sum(-1) - expected).abs()  # NaN, of which no comparison is true, if some p is below 0
    lost = missed * values.rsqrt().sum(-1) / values.reciprocal().sum(-1) / 2
    return (lost <= MISSED * values.sqrt().sum(-1)) & well_conditioned(squares, diagonal)


def worst_is_small(values: Tensor, share: float = WORST) -> Tensor:
    """Return whether rounding costs the roots of eigenvalues (..., d) at worst a small share of their sum: (...).

    Zeros apart, an eigenvalue p is off by at most eps sum p, and its root by at most

        eps sum p / (2 sqrt p)
    """
    found = values.detach()
    noise = EPS * found.sum(-1, keepdim=True)
    lost = torch.where(found == 0, 0.0, noise / 2 * torch.maximum(found, noise).rsqrt()).sum(-1)
    return lost <= share * principal_roots(found).sum(-1)


def settled(cross: Tensor, sure: Tensor, otherwise: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the cross terms (k,), each that is not `sure` (k,) replaced by what `otherwise` finds for its index."""
    if bool(sure.all()):
        return cross
    doubtful = (~sure).nonzero()[:, 0]
    return cross.index_copy(0, doubtful, otherwise(doubtful))


def _by_scatter(centred: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Return `trace_and_cross` by the Gram matrices (d, d), where frames outnumber dimensions."""

    def by_frames(which: Tensor) -> Tensor:
        return nuclear_norm(times_lower(centred[which], factor))

    return trace_and_cross_of(scatter(centred), factor, by_frames)


def _by_frames(frames: Tensor) -> Tensor:
    """Return the nuclear norms (clips,) of centred frames (clips, n, d), n < d, by their Gram matrices (n, n).

    Centred, a Gram matrix has one eigenvalue of zero, for the vector of ones: the smallest found.
    """
    values = eigenvalues(frames @ frames.mT)[:, 1:]
    return settled(traced_root(values), worst_is_small(values), lambda which: nuclear_norm(frames[which]))


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
