"""A paired permutation test for rewards of whole sets, which judges both models on all of their clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

PERMUTATIONS = 999
BATCH = 64  # sets at once: their index rows are as long as a set
ROUNDING = 1e-9  # the same clips in another order have values that differ by rounding


@dataclass(frozen=True)
class PermutationTest:
    """The difference of two models' rewards, and how probable it, or more, is between equal models.

    Attributes:
        difference: r(after) - r(before), of the sets of all clips, in units of the reward.
        p_value: one-sided.
        permutations: the number of random exchanges that it was compared with.
    """

    difference: float
    p_value: float
    permutations: int


def permutation_test(
    value: Callable[[Tensor], Tensor],
    pairs: int,
    clusters: ArrayLike | None = None,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PermutationTest:
    """Test the difference of two models' rewards, by exchanging their clips prompt by prompt with probability 1/2.

    Were the models equal, an exchange would change nothing but chance, so

        p = (1 + #{difference of an exchange >= the observed}) / (1 + permutations)

    is at most p as often as it says, whatever the reward (Phipson and Smyth 2010). The test sees what disjoint subsets
    cannot: the value of the whole set, with its small bias and noise.

    Args:
        value: maps index rows (sets, pairs) into the clips of both models to rewards (sets,), higher is better; the
            clips of the untuned model come first: `reward.subsets(Clips.concatenate([before, after]))`.
        pairs: the clips of each model; clip i of one and clip i of the other are a pair.
        clusters: (pairs,), the prompt of each pair; pairs of one prompt are exchanged together. By default every pair
            has a prompt of its own.
        permutations: the number of exchanges; the least p is 1 / (1 + permutations).
        seed: the seed of the exchanges.

    Raises:
        ValueError: there are no pairs or no permutations, or another number of clusters than of pairs.
        DragonError: `value` raises it.

    Example:
        >>> before, after = torch.zeros(8), torch.arange(8) / 8 + 0.1
        >>> clips = torch.cat([before, after])
        >>> permutation_test(lambda rows: clips[rows].mean(1), pairs=8).p_value < 0.05
        True
    """
    prompts = np.arange(pairs) if clusters is None else np.asarray(clusters)
    if pairs < 1 or permutations < 1 or prompts.shape != (pairs,):
        raise ValueError(f"{permutations} permutations of {pairs} pairs in {prompts.shape} clusters; give 1 or more")
    exchanged = np.vstack([np.zeros((1, pairs), bool), _exchanges(prompts, permutations, seed)])
    differences = _values(value, exchanged, pairs) - _values(value, ~exchanged, pairs)
    observed, others = differences[0], differences[1:]
    least = observed - ROUNDING * np.abs(differences).max()
    return PermutationTest(float(observed), (1 + int((others >= least).sum())) / (1 + permutations), permutations)


def _exchanges(prompts: NDArray[Any], permutations: int, seed: int) -> NDArray[np.bool_]:
    """Draw whether each pair is exchanged: (permutations, pairs), alike within a prompt."""
    names, places = np.unique(prompts, return_inverse=True)
    drawn = np.random.default_rng(seed).random((permutations, len(names))) < 0.5  # noqa: PLR2004
    return drawn[:, places]


def _values(value: Callable[[Tensor], Tensor], exchanged: NDArray[np.bool_], pairs: int) -> NDArray[np.float64]:
    """Return the rewards of the sets that take the second model's clip where it is not exchanged."""
    rows = torch.from_numpy(np.arange(pairs) + pairs * ~exchanged)
    with torch.no_grad():
        values = torch.cat([value(batch).double().cpu() for batch in rows.split(BATCH)])
    result: NDArray[np.float64] = values.numpy()
    return result
