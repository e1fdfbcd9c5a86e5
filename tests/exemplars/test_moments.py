"""Moments of frames: what was merged comes apart again, down to a single frame."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, seeds, thorough

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian
from dragon_rewards.metrics.gaussian import Moments

counts = st.integers(2, 12)


def assert_same(a: Gaussian, b: Gaussian) -> None:
    assert a.count == b.count
    scale = float(b.covariance.abs().max()) + 1
    torch.testing.assert_close(a.mean, b.mean, rtol=0, atol=1e-12 * scale)
    torch.testing.assert_close(a.covariance, b.covariance, rtol=0, atol=1e-11 * scale)


@thorough
@given(seeds, counts, counts, dims)
def test_what_was_merged_is_taken_out_again(seed: int, first: int, second: int, dim: int) -> None:
    a, b = (Gaussian.fit(embeddings(seed + at, count, dim)) for at, count in enumerate([first, second]))
    assert_same(a.merge(b).without(b), a)
    assert_same(a.merge(b).without(a), b)


@thorough
@given(seeds, counts, dims)
def test_taking_out_a_part_is_fitting_the_rest(seed: int, count: int, dim: int) -> None:
    frames = embeddings(seed, count + 5, dim)
    rest = Gaussian.fit(frames).without(Gaussian.fit(frames[count:]))
    assert_same(rest, Gaussian.fit(frames[:count]))
    assert torch.equal(rest.covariance, rest.covariance.mT)


@thorough
@given(seeds, dims)
def test_single_frames_add_up_to_the_whole(seed: int, dim: int) -> None:
    frames = embeddings(seed, 7, dim)
    moments = Moments.of(frames[:1])
    for row in range(1, len(frames)):
        moments += Moments.of(frames[row : row + 1])
    assert_same(Gaussian.of_moments(moments), Gaussian.fit(frames))
    assert_same(Gaussian.of_moments(moments - Moments.of(frames[:1])), Gaussian.fit(frames[1:]))


@thorough
@given(seeds, st.lists(st.integers(1, 40), min_size=1, max_size=12), dims, st.sampled_from([0.0, 1e4]))
def test_moments_of_parts_add_up_to_what_numpy_says_of_the_whole(
    seed: int, sizes: list[int], dim: int, offset: float
) -> None:
    frames = embeddings(seed, sum(sizes) + 1, dim) + offset
    total = reduce(add, map(Moments.of, frames.split([*sizes, 1])))
    found, whole = Gaussian.of_moments(total), frames.numpy()
    covariance = np.atleast_2d(np.cov(whole, rowvar=False))
    assert found.count == len(whole)
    np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-13, atol=1e-13)
    room = 1e-9 * np.trace(covariance) + 1e-15 * offset**2
    np.testing.assert_allclose(found.covariance, covariance, rtol=0, atol=room)


def test_fewer_frames_than_dimensions_keep_their_rank() -> None:
    frames = embeddings(3, 9, 40)
    rest = Gaussian.fit(frames).without(Gaussian.fit(frames[5:]))
    assert torch.linalg.matrix_rank(rest.covariance, rtol=1e-12) == 4
    torch.testing.assert_close(rest.sqrt @ rest.sqrt, Gaussian.fit(frames[:5]).covariance, rtol=0, atol=1e-10)


def test_nothing_is_left_or_too_little() -> None:
    whole = Gaussian.fit(embeddings(0, 5, 3))
    with pytest.raises(DragonError, match="5 frames cannot be taken out of 5"):
        whole.without(whole)
    with pytest.raises(DragonError, match="at least 2 frames, not 1"):
        whole.without(Gaussian.fit(embeddings(0, 4, 3)))
    with pytest.raises(DragonError, match="has 2 dimensions"):
        whole.without(Gaussian.fit(embeddings(0, 3, 2)))
