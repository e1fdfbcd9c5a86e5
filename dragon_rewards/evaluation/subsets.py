"""The matched random subsets on which rewards of whole sets compare two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dragon_rewards.errors import TooFewClipsError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def matched_subsets(prompts: int, size: int, rounds: int, seed: int) -> NDArray[np.int64]:
    """Draw the subsets on which both models are compared: index rows (rounds * (prompts // size), size).

    Each round is a random partition of the prompts into prompts // size disjoint subsets; the prompts % size left over
    differ from round to round. The same arguments give the same rows.

    Raises:
        TooFewClipsError: there are fewer prompts than one subset takes.
        ValueError: the size or the number of rounds is below 1.

    >>> matched_subsets(prompts=7, size=3, rounds=2, seed=0).shape
    (4, 3)
    """
    if size < 1 or rounds < 1:
        raise ValueError(f"subsets need a size and a number of rounds of at least 1; got {size} and {rounds}")
    if prompts < size:
        raise TooFewClipsError(f"{prompts} prompts are fewer than one subset of {size}; add prompts or lower the size")
    generator = np.random.default_rng(seed)
    used = prompts // size * size
    order = [generator.permutation(prompts)[:used].reshape(-1, size) for _ in range(rounds)]
    return np.concatenate(order).astype(np.int64)
