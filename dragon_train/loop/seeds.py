"""Seeds that never meet: training, its noise and the held-out generations each draw from a stream of their own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What seeds are for."""

    GENERATIONS = 0
    NOISE = 1
    HELDOUT = 2


def seeds(stream: Stream, seed: int, step: int = 0, side: int = 0, *, count: int = 1) -> list[int]:
    """`count` seeds of 32 bits, a function of the arguments.

    Hashed, not offset: torch's CPU generator reads the low 32 bits of a seed alone, so that 2**40 would start the
    same sequence as 0.

    >>> seeds(Stream.HELDOUT, 0, count=2) != seeds(Stream.GENERATIONS, 0, count=2)
    True
    """
    words = np.random.SeedSequence((int(stream), seed, step, side)).generate_state(count)
    return [int(word) for word in words]
