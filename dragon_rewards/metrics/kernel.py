"""The maximum mean discrepancy: how far two sets of frames lie apart, without the assumption that they are Gaussian.

With the Gaussian kernel it is the kernel audio distance (KAD), with a polynomial kernel the kernel inception distance.
"""

from __future__ import annotations

from itertools import combinations, product
from math import isfinite, isqrt

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import check_dim, checked_matrix
from dragon_rewards.metrics.linalg import ROOMY, on_accelerator, room

SCALE = 100  # published tables quote 100 MMD^2, as the authors' toolkit kadtk prints it
MINIMUM_FRAMES = 2  # the unbiased means are over pairs
BLOCK = 1024  # rows of each side of a block of the kernel: 8 MiB in float64, which a CPU's caches hold
BATCH_ELEMENTS = 2**20  # float64 values of one batch of differences: 8 MiB
PAIRS = 2**19  # 524,288: every pair of 1024 frames


def kernel_audio_distance(x: Tensor, y: Tensor, bandwidth: float | None = None) -> Tensor:
    """Return the KAD of evaluated frames x from the reference y: a scalar without unit; smaller is better.

        KAD = 100 MMD^2
        MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
        k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))

    It is the unbiased estimate (Gretton et al. 2012, equation 3), so that two sets of one distribution have a distance
    of 0 on average and may fall below it. KAD: Chung et al., arXiv 2502.15602; 100 is the factor of the authors' kadtk.

    Every term is centred before its distances are taken: off by about 1e-13 at most, wherever the frames lie, for a
    bandwidth of the order of their spread. Memory grows with m + n, forward and backward. Differentiable (once) in x,
    not in the reference or the bandwidth.

    Args:
        x: the evaluated frames, (m, d), at least 2.
        y: the frames of the reference, (n, d), at least 2.
        bandwidth: in embedding units; by default `median_bandwidth` of y, so that scaling all frames changes nothing.

    Raises:
        DragonError: a set is no matrix, has fewer than 2 frames, or NaN or infinite values; the two differ in
            dimension; the bandwidth is not positive and finite, or the median is 0.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import kernel_audio_distance
        >>> reference = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> [round(kernel_audio_distance(reference + shift, reference).item(), 3) for shift in (0.5, 5.0)]
        [-29.139, 68.064]
    """
    x, y = checked_sides(x, y)
    width = median_bandwidth(y) if bandwidth is None else _checked_bandwidth(bandwidth)
    return SCALE * (_mean_within(x, width) + _mean_within(y, width) - 2 * _mean_between(x, y, width))


def median_bandwidth(y: Tensor) -> float:
    """Return kadtk's bandwidth for a reference y: the median distance of two of its frames, in embedding units.

        bandwidth = median_{i < j} |y_i - y_j|

    Fix it to compare by one kernel what is judged against several references. It is taken over all pairs of up to 1024
    frames, as the lower median, and over 2^19 pairs drawn with a fixed seed where there are more. Without gradient.

    Args:
        y: the frames of the reference, (n, d), at least 2.

    Raises:
        DragonError: y is no matrix, has fewer than 2 frames, or NaN or infinite values, or the median is 0.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import kernel_audio_distance, median_bandwidth
        >>> reference = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> median_bandwidth(reference)
        1.0
        >>> round(kernel_audio_distance(reference + 5, 2 * reference, median_bandwidth(reference)).item(), 3)
        2.886
    """
    frames = checked_matrix(y.detach(), "the reference y", MINIMUM_FRAMES)
    size = max(1, room(frames, BATCH_ELEMENTS) // frames.shape[1])
    batches = _pairs(len(frames)).to(frames.device).split(size, dim=1)
    distances = [torch.linalg.vector_norm(frames[first] - frames[second], dim=1) for first, second in batches]
    median = float(torch.cat(distances).median())
    if median == 0:
        raise DragonError("the median distance within the reference y is 0, as most frames are equal: give a bandwidth")
    return median


def maximum_mean_discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Return MMD^2 of evaluated frames x and a reference y by a cubic kernel: a scalar; smaller is better.

        MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
        k(a, b) = (a . b / d + 1)^3

    It is the unbiased estimate for the kernel of the kernel inception distance (Bińkowski et al., arXiv 1801.01401),
    of both sets whole, without subsets. The kernel has no bandwidth and does not level off, so that sets that are far
    apart are told from sets that are farther still; its value depends on the scale of the embeddings. Differentiable
    in x.

    Args:
        x: the evaluated frames, (m, d), at least 2.
        y: the frames of the reference, (n, d), at least 2.

    Raises:
        DragonError: a set is no matrix, has fewer than 2 frames, or NaN or infinite values; the two differ in
            dimension.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import maximum_mean_discrepancy
        >>> reference = torch.tensor([[0.0], [1.0]])
        >>> [maximum_mean_discrepancy(reference + shift, reference).item() for shift in (0.0, 1.0)]
        [-3.5, 9.5]
    """
    x, y = checked_sides(x, y)
    return _cubic_within(x) + _cubic_within(y) - 2 * torch.cat(_cubic_means(x, y)).mean()


def checked_sides(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return evaluated frames x and a reference y in float64 on one device; raises as `kernel_audio_distance`."""
    x = checked_matrix(x, "the evaluated set x", MINIMUM_FRAMES)
    y = checked_matrix(y.detach(), "the reference y", MINIMUM_FRAMES).to(x.device)
    check_dim(x.shape[1], y.shape[1], "the evaluated set x")
    return x, y


def cubic_kernel(rows: Tensor, others: Tensor) -> Tensor:
    """Return (a . b / d + 1)^3 of each row a (k, d) with each other b (n, d): (k, n)."""
    return (rows @ others.mT / rows.shape[1] + 1) ** 3


def _cubic_within(rows: Tensor) -> Tensor:
    """Return the mean cubic kernel of two different rows."""
    count, own = len(rows), (rows.square().sum(1) / rows.shape[1] + 1) ** 3
    return (count * torch.cat(_cubic_means(rows, rows)).sum() - own.sum()) / (count * (count - 1))


def _cubic_means(rows: Tensor, others: Tensor) -> list[Tensor]:
    """Return the mean cubic kernel of each row with the others, in blocks of rows."""
    return [cubic_kernel(block, others).mean(1) for block in rows.split(max(1, ROOMY // len(others)))]


def _checked_bandwidth(bandwidth: float) -> float:
    if not (isfinite(bandwidth) and bandwidth > 0):
        raise DragonError(f"a bandwidth must be positive and finite, not {bandwidth}")
    return bandwidth


def _pairs(count: int) -> Tensor:
    """Return indices (2, pairs) of two different frames: all pairs, or `PAIRS` drawn with a fixed seed if more."""
    if count * (count - 1) // 2 <= PAIRS:
        return torch.triu_indices(count, count, offset=1)
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(count, (PAIRS,), generator=generator)
    ahead = torch.randint(1, count, (PAIRS,), generator=generator)
    return torch.stack([first, (first + ahead) % count])


def _mean_within(rows: Tensor, width: float) -> Tensor:
    """Return the mean kernel of two different rows; of two blocks that differ, one order stands for both."""
    blocks = ((rows - rows.detach().mean(0)) / width).split(_block(rows))
    sums = [_block_sum(block, block) for block in blocks]
    sums += [2 * _block_sum(*pair) for pair in combinations(blocks, 2)]
    return (torch.stack(sums).sum() - len(rows)) / (len(rows) * (len(rows) - 1))  # less each row with itself, 1


def _mean_between(rows: Tensor, others: Tensor, width: float) -> Tensor:
    """Return the mean kernel of a row and another."""
    centre = others.mean(0)
    pairs = product(*(((side - centre) / width).split(_block(rows)) for side in (rows, others)))
    return torch.stack([_block_sum(*pair) for pair in pairs]).sum() / (len(rows) * len(others))


def _block(rows: Tensor) -> int:
    """Return the rows of each side of a block: an accelerator has no such caches, and wants few launches."""
    return isqrt(ROOMY) if on_accelerator(rows) else BLOCK


def _block_sum(rows: Tensor, others: Tensor) -> Tensor:
    """Return the sum of the kernel over all rows and others; a backward pass computes it again, so no block is kept."""
    if rows.requires_grad:
        total: Tensor = checkpoint(_kernel_sum, rows, others, use_reentrant=False, preserve_rng_state=False)
        return total
    return _kernel_sum(rows, others)


def _kernel_sum(rows: Tensor, others: Tensor) -> Tensor:
    halves = (-rows.square().sum(1) / 2).unsqueeze(1) - others.square().sum(1) / 2
    return torch.addmm(halves, rows, others.mT).clamp(max=0).exp().sum()  # rounding may leave the exponent above 0
