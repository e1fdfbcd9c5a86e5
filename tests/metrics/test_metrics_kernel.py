from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from support.metric_cases import dims, embeddings, rotation, seeds, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import kernel_audio_distance, median_bandwidth
from dragon_rewards.metrics.kernel import PAIRS

counts = st.integers(2, 12)
bandwidths = st.sampled_from([None, 0.3, 2.0, 50.0])


def kad_of_scipy(x: Tensor, y: Tensor, bandwidth: float | None) -> float:
    """From whole matrices of distances; the median is the lower one of two."""
    distances = np.sort(pdist(y))
    width = bandwidth or distances[(len(distances) - 1) // 2]
    xx, yy, xy = (np.exp(-((cdist(a, b) / width) ** 2) / 2) for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    within = (xx.sum() - np.trace(xx)) / (m * (m - 1)) + (yy.sum() - np.trace(yy)) / (n * (n - 1))
    return 100 * float(within - 2 * xy.mean())


def kad_of_40_digits(x: Tensor, y: Tensor, bandwidth: float) -> float:
    """The distance of these float64 frames, pair by pair."""
    with mpmath.workdps(40):
        rows, others = ([[mpmath.mpf(value) for value in row] for row in frames.tolist()] for frames in (x, y))

        def kernel(a: list[mpmath.mpf], b: list[mpmath.mpf]) -> mpmath.mpf:
            square = mpmath.fsum((i - j) ** 2 for i, j in zip(a, b, strict=True))
            return mpmath.exp(-square / (2 * mpmath.mpf(bandwidth) ** 2))

        def within(frames: list[list[mpmath.mpf]]) -> mpmath.mpf:
            pairs = [kernel(a, b) for i, a in enumerate(frames) for j, b in enumerate(frames) if i != j]
            return mpmath.fsum(pairs) / len(pairs)

        between = mpmath.fsum(kernel(a, b) for a in rows for b in others) / (len(rows) * len(others))
        return float(100 * (within(rows) + within(others) - 2 * between))


@thorough
@given(seeds, counts, counts, dims, bandwidths)
def test_the_distance_is_that_of_whole_matrices(seed: int, m: int, n: int, dim: int, bandwidth: float | None) -> None:
    x, y = embeddings(seed, m, dim), embeddings(seed + 1, n, dim)
    expected = kad_of_scipy(x, y, bandwidth)
    assert float(kernel_audio_distance(x, y, bandwidth)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("bandwidth", [0.5, 3.0, 100.0])
def test_the_distance_is_that_of_40_digits(bandwidth: float) -> None:
    x, y = embeddings(1, 7, 3), embeddings(2, 9, 3)
    expected = kad_of_40_digits(x, y, bandwidth)
    assert float(kernel_audio_distance(x, y, bandwidth)) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_a_distance_far_from_the_origin_is_that_of_40_digits(offset: float) -> None:
    x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + offset
    y = torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + offset + 0.5
    assert float(kernel_audio_distance(x, y, 2.0)) == pytest.approx(kad_of_40_digits(x, y, 2.0), rel=0, abs=1e-12)


def test_sets_far_from_each_other_keep_their_digits() -> None:
    x, y = embeddings(1, 7, 3) + 1e6, embeddings(2, 9, 3)
    assert float(kernel_audio_distance(x, y, 1.5)) == pytest.approx(kad_of_40_digits(x, y, 1.5), rel=0, abs=1e-12)


@thorough
@given(seeds, counts, counts, dims)
def test_the_distance_is_symmetric_where_the_bandwidth_is_given(seed: int, m: int, n: int, dim: int) -> None:
    x, y = embeddings(seed, m, dim), embeddings(seed + 1, n, dim)
    assert torch.isclose(kernel_audio_distance(x, y, 2.0), kernel_audio_distance(y, x, 2.0), rtol=1e-9, atol=1e-11)


@thorough
@given(seeds, counts, counts, dims, bandwidths)
def test_rotation_translation_and_order_are_irrelevant(
    seed: int, m: int, n: int, dim: int, bandwidth: float | None
) -> None:
    x, y, turn = embeddings(seed, m, dim), embeddings(seed + 1, n, dim), rotation(seed, dim)
    before = kernel_audio_distance(x, y, bandwidth)
    after = kernel_audio_distance((x @ turn + 7).flip(0), (y @ turn + 7).flip(0), bandwidth)
    assert torch.isclose(after, before, rtol=1e-8, atol=1e-9)


@thorough
@given(seeds, counts, counts, dims, st.floats(-5, 5).map(lambda exponent: 10.0**exponent))
def test_scaling_all_frames_changes_nothing_by_default(seed: int, m: int, n: int, dim: int, scale: float) -> None:
    x, y = embeddings(seed, m, dim), embeddings(seed + 1, n, dim)
    before, after = kernel_audio_distance(x, y), kernel_audio_distance(x * scale, y * scale)
    assert torch.isclose(after, before, rtol=1e-8, atol=1e-9)


def test_sets_of_one_distribution_have_no_distance_on_average() -> None:
    sets = torch.randn(800, 2, 10, 3, generator=torch.Generator().manual_seed(0))
    values = torch.stack([kernel_audio_distance(x, y, 2.0) for x, y in sets])
    assert values.min() < 0
    assert abs(values.mean()) < 4 * values.std() / len(values) ** 0.5


def test_the_distance_grows_with_the_shift_up_to_that_of_separate_sets() -> None:
    y = embeddings(1, 40, 4)
    distances = [float(kernel_audio_distance(y + shift, y)) for shift in (0, 1, 3, 10, 1000)]
    assert distances == sorted(distances)
    assert float(kernel_audio_distance(torch.zeros(3, 2), torch.full((4, 2), 9.0), 0.1)) == pytest.approx(200)


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = embeddings(1, 13, 3).requires_grad_(), embeddings(2, 11, 3)
    whole = kernel_audio_distance(x, y)
    (slope,) = torch.autograd.grad(whole, x)
    monkeypatch.setattr("dragon_rewards.metrics.kernel.BATCH_ELEMENTS", 30)
    small = kernel_audio_distance(x, y)
    assert torch.isclose(small, whole, rtol=1e-12, atol=1e-12)
    assert torch.allclose(torch.autograd.grad(small, x)[0], slope, rtol=1e-9, atol=1e-12)


@thorough
@given(seeds, counts, dims)
def test_the_median_bandwidth_is_the_lower_median_of_all_distances_and_the_default(
    seed: int, count: int, dim: int
) -> None:
    x, y = embeddings(seed, 5, dim), embeddings(seed + 1, count, dim)
    distances = np.sort(pdist(y))
    width = median_bandwidth(y)
    assert width == pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-12)
    assert torch.equal(kernel_audio_distance(x, y, width), kernel_audio_distance(x, y))


def test_the_median_of_equal_frames_is_no_bandwidth() -> None:
    with pytest.raises(DragonError, match="median distance within the reference y is 0"):
        median_bandwidth(torch.ones(4, 2))


def test_all_pairs_of_1024_frames_are_counted() -> None:
    assert 1024 * 1023 // 2 <= PAIRS < 1025 * 1024 // 2


def test_a_median_over_drawn_pairs_is_near_that_over_all_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = embeddings(1, 60, 8), embeddings(2, 300, 8)
    exact = kernel_audio_distance(x, y)
    monkeypatch.setattr("dragon_rewards.metrics.kernel.PAIRS", 20_000)  # of 44,850
    drawn = kernel_audio_distance(x, y)
    assert drawn != exact
    assert torch.isclose(drawn, exact, rtol=0.02)
    assert torch.equal(kernel_audio_distance(x, y), drawn)


@pytest.mark.parametrize("bandwidth", [None, 2.0])
def test_gradients_are_finite_differences(bandwidth: float | None) -> None:
    x, y = embeddings(1, 6, 3).requires_grad_(), embeddings(2, 8, 3)
    assert torch.autograd.gradcheck(lambda frames: kernel_audio_distance(frames, y, bandwidth), x)


def test_gradients_of_equal_frames_are_finite() -> None:
    x = torch.ones(5, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel_audio_distance(x, embeddings(2, 8, 3)), x)
    assert slope.isfinite().all()


def test_a_step_down_the_gradient_brings_frames_nearer() -> None:
    x, y = embeddings(1, 20, 4).requires_grad_(), embeddings(2, 30, 4)
    before = kernel_audio_distance(x, y)
    (slope,) = torch.autograd.grad(before, x)
    assert kernel_audio_distance(x - 0.1 * slope, y) < before


good = embeddings(0, 5, 2)


@pytest.mark.parametrize(
    ("x", "y", "bandwidth", "cause"),
    [
        (torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), good, None, "evaluated set x has NaN .* frame 1"),
        (good, torch.full((3, 2), torch.inf), None, "reference y has NaN .* frame 0"),
        (torch.zeros(0, 2), good, None, r"evaluated set x has 0 frames, and at least 2"),
        (good, torch.zeros(1, 2), None, r"reference y has 1 frame, and at least 2"),
        (torch.zeros(4), good, None, "evaluated set x must be a matrix"),
        (torch.zeros(4, 3), good, None, "evaluated set x has 3 dimensions.* has 2"),
        (good, torch.ones(4, 2), None, "median distance within the reference y is 0"),
        (good, good, 0.0, "positive and finite, not 0.0"),
        (good, good, torch.inf, "positive and finite, not inf"),
        (good, good, torch.nan, "positive and finite, not nan"),
    ],
)
def test_sets_without_a_distance_are_refused(x: Tensor, y: Tensor, bandwidth: float | None, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        kernel_audio_distance(x, y, bandwidth)
