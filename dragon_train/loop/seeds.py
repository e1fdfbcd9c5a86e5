"""Derive seeds that never meet: training, its noise and held-out generations each draw from a stream of their own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """A purpose of seeds; seeds of different purposes are unrelated."""

    GENERATIONS = 0
    NOISE = 1
    HELDOUT = 2


def seeds(stream: Stream, seed: int, step: int = 0, side: int = 0, *, count: int = 1) -> list[int]:
    """Return `count` seeds of 32 bits, which are a function of the arguments.

    They are hashed, not offset: torch's CPU generator reads the low 32 bits of a seed alone, so that 2**40 would start
    the same sequence as 0.

    Args:
        stream: what the seeds are for.
        seed: the seed of the run.
        step: the number of the step.
        side: the number of the set of clips in a step.
        count: how many seeds.

    >>> seeds(Stream.HELDOUT, 0, count=2) != seeds(Stream.GENERATIONS, 0, count=2)
    True
    """
    words = np.random.SeedSequence((int(stream), seed, step, side)).generate_state(count)
    return [int(word) for word in words]
