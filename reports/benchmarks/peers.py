"""The peers' formulas, written down from their papers and sources as baselines: numpy and scipy, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eig, eigvalsh, inv, sqrtm

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

OFFSET = 1e-6  # fadtk's, where the product is so singular that its root is not finite


def moments(frames: Array) -> tuple[Array, Array]:
    """Mean and covariance, as fadtk takes them of the embeddings of each set."""
    return frames.mean(0), np.cov(frames, rowvar=False)


def fadtk(mean: Array, covariance: Array, reference_mean: Array, reference_covariance: Array) -> float:
    """The distance as fadtk computes it: each call takes the root by `sqrtm`, and again by general eigenvectors."""
    product = covariance @ reference_covariance
    first = sqrtm(product)  # it only warns where the two roots disagree
    np.linalg.norm(first @ first - product)  # the error that scipy estimates for `disp=False`
    values, vectors = eig(product)
    root = (vectors * np.emath.sqrt(values)) @ inv(vectors)
    if not np.isfinite(root).all():
        offset = OFFSET * np.eye(len(mean))
        root = sqrtm((covariance + offset) @ (reference_covariance + offset))
    shift = mean - reference_mean
    return float(shift @ shift + np.trace(covariance) + np.trace(reference_covariance) - 2 * np.trace(root).real)


def by_root(mean: Array, covariance: Array, reference_mean: Array, reference_covariance: Array) -> float:
    """The formula of pytorch-fid, which most toolkits copied: the root by `sqrtm` alone."""
    root = sqrtm(covariance @ reference_covariance)
    shift = mean - reference_mean
    return float(shift @ shift + np.trace(covariance) + np.trace(reference_covariance) - 2 * np.trace(root).real)


def symmetric(mean: Array, covariance: Array, reference_mean: Array, reference_root: Array) -> float:
    """The best known form for full covariances: eigenvalues of S_r^1/2 S S_r^1/2, given S_r^1/2."""
    cross = np.sqrt(eigvalsh(reference_root @ covariance @ reference_root).clip(min=0)).sum()
    shift = mean - reference_mean
    return float(shift @ shift + np.trace(covariance) + np.trace(reference_root @ reference_root) - 2 * cross)


def greedy(songs: Array, distance: Callable[[Array, Array], float]) -> float:
    """One pass of greedy selection over pairs of songs (2, pairs, frames, d), a fresh distance for each candidate.

    Moments of the set are kept, so that a candidate costs two songs' moments and the distance alone.
    """
    count = songs.shape[1] * songs.shape[2]
    sums, squares = songs.sum(2), np.einsum("spfi,spfj->spij", songs, songs, optimize=True)

    def valued(total: Array, square: Array) -> float:
        return distance(total / count, (square - np.outer(total, total) / count) / (count - 1))

    starts = [(valued(sums[side].sum(0), squares[side].sum(0)), side) for side in (0, 1)]
    best, side = min(starts)
    total, square = sums[side].sum(0), squares[side].sum(0)
    for pair in range(songs.shape[1]):
        moved = total + sums[1 - side, pair] - sums[side, pair]
        spread = square + squares[1 - side, pair] - squares[side, pair]
        value = valued(moved, spread)
        if value < best:
            best, total, square = value, moved, spread
    return best


def exchanged(songs: Array, permutations: int, distance: Callable[[Array, Array], float]) -> float:
    """Both sets' distances, of songs (2, pairs, frames, d) and of each exchange between them; returns what was gained.

    A set's moments are the moments of its frames, as a toolkit takes them.
    """
    draws = np.random.default_rng(0).random((permutations, songs.shape[1])) < 0.5
    pairs, gains = np.arange(songs.shape[1]), []
    for sides in np.vstack([np.zeros((1, songs.shape[1]), bool), draws]).astype(int):
        before, after = (
            distance(*moments(songs[own, pairs].reshape(-1, songs.shape[3]))) for own in (sides, 1 - sides)
        )
        gains.append(before - after)
    return float(gains[0])


def vendi(embeddings: Array) -> float:
    """The Vendi score by its definition: eigenvalues of the kernel (n, n) of all clips, as `vendi_score.score`."""
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    shares = eigvalsh(units @ units.T / len(units))
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def kadtk(x: Array, y: Array, width: float) -> float:
    """KAD as in kadtk: whole kernel matrices, of which it takes the means."""
    within = sum((_kernel(z, z, width).sum() - len(z)) / (len(z) * (len(z) - 1)) for z in (x, y))
    return float(100 * (within - 2 * _kernel(x, y, width).mean()))


def _kernel(rows: Array, others: Array, width: float) -> Array:
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1) - 2 * rows @ others.T
    kernel: Array = np.exp(-squares.clip(min=0) / (2 * width**2))
    return kernel


def leave_one_out(songs: Array, reference: tuple[Array, Array]) -> Array:
    """What each song (songs, frames, d) adds to the distance, as fadtk's `delta` mode: a fresh distance without it."""
    kept = [np.delete(songs, index, axis=0).reshape(-1, songs.shape[2]) for index in range(len(songs))]
    whole = fadtk(*moments(songs.reshape(-1, songs.shape[2])), *reference)
    return np.array([whole - fadtk(*moments(others), *reference) for others in kept])
