"""The operations that the metrics spend their time in, with half the work where a matrix is symmetric or triangular.

torch has no call for `syrk`, `trmm` and `sygst`. On the CPU with one thread and without gradients numpy and scipy make
them (5,000 x 512 frames: X^T X in 28 ms, the full product in 60); with more threads their pool and torch's would wait
for each other, and with gradients or on a GPU they are of no use: there, torch multiplies (reports/benchmarks).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dsygst
from torch import Tensor

STRIP = 128  # columns: few enough to save much of the lower triangle, enough for products at full speed


def scatter(frames: Tensor) -> Tensor:
    """X^T X of frames (..., n, d) in float64: (..., d, d).

    Example:
        >>> import torch
        >>> scatter(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double()).tolist()
        [[1.0, 2.0], [2.0, 5.0]]
    """
    if _by_blas(frames):
        rows = frames.detach().numpy()
        return torch.from_numpy(rows.swapaxes(-1, -2) @ rows)  # numpy calls syrk for a matrix and its own transpose
    upper = frames.new_zeros(*frames.shape[:-2], frames.shape[-1], frames.shape[-1])
    for start in range(0, frames.shape[-1], STRIP):
        own = slice(start, start + STRIP)
        upper[..., own, start:] = frames[..., own].mT @ frames[..., start:]
    return upper.triu() + upper.triu(1).mT


def times_lower(frames: Tensor, lower: Tensor) -> Tensor:
    """X W of frames (..., n, d) and a lower triangular W (d, d) in float64: (..., n, d).

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
    """Of symmetric matrices (..., d, d) in float64, in ascending order: (..., d); only the lower triangle is read.

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
    """Eigenvalues of W^T S W for symmetric S (..., d, d) and a lower triangular W (d, d) in float64: (..., d).

    Example:
        >>> import torch
        >>> congruent_eigenvalues(torch.eye(2).double(), torch.tensor([[2.0, 0.0], [0.0, 3.0]]).double()).tolist()
        [4.0, 9.0]
    """
    if not _by_blas(symmetric):
        return eigenvalues(lower.mT @ symmetric @ lower)
    products = [_congruent(matrix, lower) for matrix in symmetric.reshape(-1, *lower.shape)]
    return torch.stack([eigenvalues(product) for product in products]).view(symmetric.shape[:-1])


def _congruent(symmetric: Tensor, lower: Tensor) -> Tensor:
    """W^T S W, of which only the lower triangle is meant; in Fortran's order, the transpose, it is the upper one."""
    product, _ = dsygst(symmetric.detach().numpy().T, lower.numpy().T, itype=2)
    return torch.from_numpy(product.T)


def _by_blas(tensor: Tensor) -> bool:
    wanted = tensor.requires_grad and torch.is_grad_enabled()
    return tensor.device.type == "cpu" and torch.get_num_threads() == 1 and not wanted
