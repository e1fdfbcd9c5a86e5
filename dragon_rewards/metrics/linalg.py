"""The operations that the metrics spend their time in, with half the work where a matrix is symmetric or triangular.

torch has no call for `syrk`, `trmm` and `sygst`. On the CPU with one thread and without gradients numpy and scipy make
them (5,000 x 512 frames: X^T X in 28 ms, the full product in 60); with more threads their pool and torch's would wait
for each other, and with gradients or on an accelerator they are of no use: there torch multiplies (reports/benchmarks).

An accelerator is kept busy by few launches over whole batches. Of the decompositions of CUDA, `eigvalsh` of a batch is
one launch (for any size since torch 2.12, up to 32 x 32 before), and so are `cholesky_ex` and the triangle of `qr`; a
batch of `svdvals` beyond 32 x 32 goes matrix by matrix. So singular values are found there as the eigenvalues of
[[0, R^T], [R, 0]], which squares nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dpotrf, dsygst
from torch import Tensor

STRIP = 128  # columns: few enough to save much of the lower triangle, enough for products at full speed
ROOMY = 2**24  # float64 values of one array of a batch on an accelerator: 128 MiB
SPREAD = 1e5  # |S^1/2| |S^-1/2| up to which S in float64 fixes a distance: to eps SPREAD / 2 = 1e-11 of the traces


def scatter(frames: Tensor) -> Tensor:
    """Return X^T X of frames X (..., n, d) in float64: (..., d, d).

    Example:
        >>> import torch
        >>> scatter(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double()).tolist()
        [[1.0, 2.0], [2.0, 5.0]]
    """
    if _by_blas(frames):
        rows = frames.detach().numpy()
        return torch.from_numpy(rows.swapaxes(-1, -2) @ rows)  # numpy calls syrk for a matrix and its own transpose
    if on_accelerator(frames):
        return frames.mT @ frames  # one launch at full speed, where strips would be many small ones
    upper = frames.new_zeros(*frames.shape[:-2], frames.shape[-1], frames.shape[-1])
    for start in range(0, frames.shape[-1], STRIP):
        own = slice(start, start + STRIP)
        upper[..., own, start:] = frames[..., own].mT @ frames[..., start:]
    return upper.triu() + upper.triu(1).mT


def times_lower(frames: Tensor, lower: Tensor) -> Tensor:
    """Return X W of frames X (..., n, d) and a lower triangular W (d, d) in float64: (..., n, d).

    Example:
        >>> import torch
        >>> times_lower(torch.tensor([[1.0, 1.0]]).double(), torch.tensor([[2.0, 0.0], [3.0, 4.0]]).double()).tolist()
        [[5.0, 4.0]]
    """
    if not _by_blas(frames):
        return frames @ lower
    columns = frames.detach().reshape(-1, frames.shape[-1]).numpy().T  # Fortran's order, without a copy
    return torch.from_numpy(dtrmm(1.0, lower.numpy().T, columns).T).view(frames.shape)


def eigenvalues(symmetric: Tensor) -> Tensor:
    """Return the eigenvalues of symmetric matrices (..., d, d) in float64, in ascending order: (..., d).

    Only the lower triangles are read.

    Example:
        >>> import torch
        >>> eigenvalues(torch.tensor([[2.0, 0.0], [0.0, 1.0]]).double()).tolist()
        [1.0, 2.0]
    """
    if _by_blas(symmetric):
        return torch.from_numpy(np.linalg.eigvalsh(symmetric.detach().numpy()))
    found: Tensor = torch.linalg.eigvalsh(symmetric)
    return found


def congruent_eigenvalues(symmetric: Tensor, lower: Tensor) -> Tensor:
    """Return the eigenvalues of W^T S W, in ascending order: (..., d).

    Args:
        symmetric: S, (..., d, d), in float64.
        lower: W, (d, d), lower triangular, in float64.

    Example:
        >>> import torch
        >>> congruent_eigenvalues(torch.eye(2).double(), torch.tensor([[2.0, 0.0], [0.0, 3.0]]).double()).tolist()
        [4.0, 9.0]
    """
    if not _by_blas(symmetric):
        return eigenvalues(lower.mT @ symmetric @ lower)
    products = [_congruent(matrix, lower) for matrix in symmetric.reshape(-1, *lower.shape)]
    return torch.stack([eigenvalues(product) for product in products]).view(symmetric.shape[:-1])


def pivots(symmetric: Tensor) -> Tensor:
    """Return the diagonal of the Cholesky factor of S (..., d, d) in float64: (..., d); NaN where S has none.

    It is a constant, without gradient.

    Example:
        >>> import torch
        >>> pivots(torch.tensor([[4.0, 2.0], [2.0, 10.0]]).double()).tolist()
        [2.0, 3.0]
    """
    symmetric = symmetric.detach()
    if not _by_blas(symmetric):
        lower, failed = torch.linalg.cholesky_ex(symmetric)
        return torch.where(failed.unsqueeze(-1) == 0, lower.diagonal(dim1=-2, dim2=-1), torch.nan)
    matrices = symmetric.reshape(-1, *symmetric.shape[-2:])
    return torch.stack([_pivots(matrix) for matrix in matrices]).view(symmetric.shape[:-1])


def well_conditioned(symmetric: Tensor, diagonal: Tensor) -> Tensor:
    """Return whether covariances S (..., d, d) with these `pivots` (..., d) hold the small roots, too: (...).

    A change E of S, such as its own rounding, changes tr (F S F^T)^1/2 by at most

        |E| |F| |S^-1/2| / 2

    (F and S^-1/2 by Frobenius norm: Cauchy and Schwarz for the slope tr T E / 2 of the transport map T). With |E| = eps
    tr S this is eps / 2 |S^1/2| |S^-1/2| of |F| |S^1/2|. Pivots L bound |S^-1/2|^2 = tr S^-1 from below: the last 1 /
    L^2 is on the diagonal of S^-1, and others are at most what stands there.
    """
    traces = symmetric.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
    return traces * diagonal.pow(-2).sum(-1) <= SPREAD**2


def singular_values(frames: Tensor) -> Tensor:
    """Return the singular values of matrices (..., n, m) in float64, in no order: (..., min(n, m)).

    Each is exact to within rounding of the largest.

    Example:
        >>> import torch
        >>> singular_values(torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]).double()).tolist()
        [2.0, 1.0]
    """
    tall = frames if frames.shape[-2] >= frames.shape[-1] else frames.mT  # LAPACK is slower on wide matrices
    if on_accelerator(frames) and not _wanted(frames):
        return _by_mirrored_eigenvalues(tall)
    found: Tensor = torch.linalg.svdvals(tall)
    return found


def _by_mirrored_eigenvalues(tall: Tensor) -> Tensor:
    """Return the singular values of matrices (..., n, m), n >= m, as the upper eigenvalues of [[0, R^T], [R, 0]]."""
    triangle = torch.linalg.qr(tall, mode="r")[1]
    columns = tall.shape[-1]
    mirrored = tall.new_zeros(*tall.shape[:-2], 2 * columns, 2 * columns)
    mirrored[..., columns:, :columns] = triangle  # only the lower triangle is read
    return eigenvalues(mirrored)[..., columns:]


def on_accelerator(tensor: Tensor) -> bool:
    """Return whether launches and transfers cost more than arithmetic where the tensor is."""
    return tensor.device.type != "cpu"


def room(tensor: Tensor, elements: int) -> int:
    """Return how many float64 values one array of a batch may hold on the tensor's device.

    `elements` suits the caches of a CPU; an accelerator wants few launches, and takes more.
    """
    return max(elements, ROOMY) if on_accelerator(tensor) else elements


def _pivots(matrix: Tensor) -> Tensor:
    lower, failed = dpotrf(matrix.numpy().T, lower=0, clean=0)  # in Fortran's order, the transpose, it is the upper one
    diagonal = torch.from_numpy(lower.diagonal().copy())
    return torch.full_like(diagonal, torch.nan) if failed else diagonal


def _congruent(symmetric: Tensor, lower: Tensor) -> Tensor:
    """Return W^T S W, of which only the lower triangle is meant.

    In Fortran's order, which is the transpose, it is the upper one.
    """
    product, _ = dsygst(symmetric.detach().numpy().T, lower.numpy().T, itype=2)
    return torch.from_numpy(product.T)


def _by_blas(tensor: Tensor) -> bool:
    return not on_accelerator(tensor) and torch.get_num_threads() == 1 and not _wanted(tensor)


def _wanted(tensor: Tensor) -> bool:
    """Return whether a gradient of this tensor is wanted."""
    return tensor.requires_grad and torch.is_grad_enabled()
