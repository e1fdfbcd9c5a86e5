"""Bradley-Terry models of preferences over embeddings: the fit of a head, and its cross-validation.

The first clip of a pair is preferred with probability sigmoid(r(x) - r(y)) (Bradley and Terry, Rank analysis of
incomplete block designs, 1952), with r the rating of a kernel head. A tie counts as half a vote for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import softplus

from dragon_rewards.fitting.validation import fold_numbers
from dragon_rewards.reductions.aesthetics import KernelHead, bandwidth_of, gaussian_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from dragon_rewards.fitting.preferences import Preferences

    Units = NDArray[np.int64]
    Fit = Callable[[Tensor, "Votes"], Tensor]

RIDGES = tuple(10.0**power for power in range(-2, 2))  # of a kernel whose diagonal is 1
FOLDS, INNER_FOLDS = 5, 3
STEPS, HALVINGS = 50, 30
CLOSE = 1e-9  # of a Newton step to the coefficients


@dataclass(frozen=True)
class Votes:
    """What people said of pairs of clips.

    Attributes:
        pairs: the numbers of the first and the second clip of each pair, (pairs, 2).
        counts: how many votes each pair has, (pairs,).
        wins: how many of them its first clip has, a tie as half of one, (pairs,).
    """

    pairs: Tensor
    counts: Tensor
    wins: Tensor

    def at(self, chosen: NDArray[np.bool_]) -> Votes:
        """Return the votes on the pairs that are chosen."""
        rows = torch.from_numpy(np.flatnonzero(chosen))
        return Votes(self.pairs[rows], self.counts[rows], self.wins[rows])

    def differences(self, ratings: Tensor) -> Tensor:
        """Return by how much the first clip of each pair is rated higher, (pairs,), of ratings (clips,)."""
        return ratings[self.pairs[:, 0]] - ratings[self.pairs[:, 1]]

    def gathered(self, values: Tensor, clips: int) -> Tensor:
        """Return the sum of the values of a clip's pairs, (clips,), with a minus where it is the second clip."""
        zero = torch.zeros(clips, dtype=values.dtype)
        return zero.index_add(0, self.pairs[:, 0], values).index_add(0, self.pairs[:, 1], -values)

    def losses(self, differences: Tensor) -> Tensor:
        """Return the negative log-likelihood of the votes on each pair, (pairs,), in nats."""
        return self.counts * softplus(differences) - self.wins * differences


def votes_of(preferences: Preferences) -> Votes:
    """Return the votes of a table, of all raters together."""
    cast = np.isfinite(preferences.given)
    wins = np.where(cast, preferences.given, 0).sum(1)
    return Votes(*map(torch.from_numpy, (preferences.pairs, cast.sum(1).astype(float), wins)))


def fit_preferences_head(pooled: Tensor, votes: Votes, ridge: float) -> KernelHead:
    """Fit a head to votes; its rating of a clip is the log-odds that the clip is preferred to one rated 0.

    Args:
        pooled: one embedding per clip, (clips, dim).
        votes: the votes on pairs of them.
        ridge: the strength of the regularisation, above 0.

    Raises:
        DragonError: most embeddings are equal.
    """
    x = pooled.double()
    bandwidth = bandwidth_of(x)
    coefficients = fit_coefficients(gaussian_kernel(x, x, bandwidth), votes, ridge)
    scale = torch.tensor([float(bandwidth), 0.0, 1.0])
    return KernelHead(x.float(), coefficients.float(), scale)


def fit_coefficients(kernel: Tensor, votes: Votes, ridge: float) -> Tensor:
    """Return the coefficients a (clips,) of the ratings r = K a that make the votes most likely, by Newton's method.

        min_a  sum_pairs [n softplus(d) - w d] + ridge / 2 a^T K a,    d = r_first - r_second

    with n votes on a pair, w of them for its first clip. With D the differences of the pairs, p = sigmoid(d) and
    W = diag(n p (1 - p)), the next a solves (D^T W D K + ridge I) a = D^T (W d + w - n p); a step that does not lower
    the loss is halved.
    """
    count = len(kernel)
    a, eye = kernel.new_zeros(count), torch.eye(count, dtype=kernel.dtype)

    def loss(at: Tensor) -> Tensor:
        ratings = kernel @ at
        return votes.losses(votes.differences(ratings)).sum() + ridge / 2 * at @ ratings

    for _ in range(STEPS):
        d = votes.differences(kernel @ a)
        p = d.sigmoid()
        weights = votes.counts * p * (1 - p)
        target = votes.gathered(weights * d + votes.wins - votes.counts * p, count)
        step = torch.linalg.solve(_laplacian(votes.pairs, weights, count) @ kernel + ridge * eye, target) - a
        before = loss(a)
        size = next((0.5**k for k in range(HALVINGS) if loss(a + 0.5**k * step) <= before), 0.0)
        a = a + size * step
        if float((size * step).abs().max()) <= CLOSE * (1 + float(a.abs().max())):
            break
    return a


def _laplacian(pairs: Tensor, weights: Tensor, clips: int) -> Tensor:
    """Return D^T W D, (clips, clips)."""
    first, second = pairs.T
    found = torch.zeros(clips, clips, dtype=weights.dtype)
    for rows, columns, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
        found.index_put_((rows, columns), sign * weights, accumulate=True)
    return found


def kernel_of(pooled: Tensor) -> Tensor:
    """Return the kernel of embeddings (clips, dim) that heads over them have, (clips, clips)."""
    x = pooled.double()
    return gaussian_kernel(x, x, bandwidth_of(x))


def best_ridge(kernel: Tensor, votes: Votes, units: Units) -> float:
    """Return the ridge with the least log loss for votes on clips of units that are held out, in three folds.

    Args:
        kernel: of all clips, (clips, clips).
        votes: the votes to learn from.
        units: the number of the unit of each clip, (clips,).
    """

    def loss(ridge: float) -> float:
        fit = partial(_fitted, ridge=ridge)
        return float(votes.losses(held_out_differences(kernel, votes, units, 0, fit, INNER_FOLDS)).sum())

    return min(RIDGES, key=loss)


def _fitted(kernel: Tensor, votes: Votes, ridge: float) -> Tensor:
    return kernel @ fit_coefficients(kernel, votes, ridge)


def held_out_differences(
    kernel: Tensor, votes: Votes, units: Units, seed: int, fit: Fit | None = None, folds: int = FOLDS
) -> Tensor:
    """Return for each pair by how much a head rates its first clip higher that learnt of neither clip, (pairs,).

    Units are in folds. A pair lies in one fold or in two, and is predicted by a head that was fitted to the votes on
    pairs of which no clip lies in them. It is 0 where no such votes are left.

    Args:
        kernel: of all clips, (clips, clips); its bandwidth is of all clips, and of no vote.
        votes: the votes.
        units: the number of the unit of each clip, (clips,).
        seed: the seed of the folds.
        fit: returns ratings (clips,) by votes; by default with the ridge that is best for them.
        folds: how many there are at most.
    """
    fold = fold_numbers(units, seed, folds)
    lies_in = np.sort(fold[votes.pairs.numpy()], axis=1)
    found = torch.zeros(len(lies_in), dtype=kernel.dtype)
    for held in np.unique(lies_in, axis=0):
        asked = np.all(lies_in == held, axis=1)
        seen = votes.at(~np.any(np.isin(lies_in, held), axis=1))
        if len(seen.pairs):
            ratings = fit(kernel, seen) if fit else _fitted(kernel, seen, best_ridge(kernel, seen, units))
            found[torch.from_numpy(asked)] = votes.at(asked).differences(ratings)
    return found
