from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian
from metrics.cases import dims, embeddings, lengths, rotation, seeds, songs, thorough


def assert_same(a: Gaussian, b: Gaussian) -> None:
    assert a.count == b.count
    assert torch.allclose(a.mean, b.mean, rtol=1e-12, atol=1e-12)
    assert torch.allclose(a.covariance, b.covariance, rtol=1e-11, atol=1e-11)


@thorough
@given(seeds, dims)
def test_a_fit_is_numpys_mean_and_covariance(seed: int, dim: int) -> None:
    frames = embeddings(seed, 7, dim)
    assert torch.allclose(Gaussian.fit(frames).covariance, frames.mT.cov().view(dim, dim), rtol=1e-12, atol=1e-12)
    assert torch.equal(Gaussian.fit(frames).mean, frames.mean(0))


@thorough
@given(seeds, lengths, dims)
def test_merging_parts_is_fitting_the_whole(seed: int, frame_counts: list[int], dim: int) -> None:
    parts = songs(seed, frame_counts, dim)
    merged = Gaussian.fit(parts[0])
    for part in parts[1:]:
        merged = merged.merge(Gaussian.fit(part))
    assert_same(merged, Gaussian.fit(torch.cat(parts)))


@thorough
@given(seeds, dims)
def test_merging_is_associative_and_commutative(seed: int, dim: int) -> None:
    a, b, c = (Gaussian.fit(part) for part in songs(seed, [3, 8, 5], dim))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert_same(a.merge(b), b.merge(a))


def test_merging_keeps_a_small_spread_far_from_the_origin() -> None:
    frames = embeddings(0, 2000, 4) * 1e-3 + 1e4
    merged = Gaussian.fit(frames[:900]).merge(Gaussian.fit(frames[900:]))
    assert torch.allclose(merged.covariance, Gaussian.fit(frames - 1e4).covariance, rtol=1e-7, atol=0)
    assert torch.linalg.eigvalsh(merged.covariance)[0] > 0


@thorough
@given(seeds, dims)
def test_the_square_root_is_symmetric_and_squares_to_the_covariance(seed: int, dim: int) -> None:
    gaussian = Gaussian.fit(embeddings(seed, 12, dim))
    assert torch.allclose(gaussian.sqrt @ gaussian.sqrt, gaussian.covariance, rtol=1e-12, atol=1e-12)
    assert torch.allclose(gaussian.sqrt, gaussian.sqrt.mT, rtol=1e-12, atol=1e-12)
    assert torch.linalg.eigvalsh(gaussian.sqrt).min() > -1e-12


def test_the_square_root_of_few_frames_in_many_dimensions_has_their_rank() -> None:
    gaussian = Gaussian.fit(embeddings(1, 5, 40) @ rotation(2, 40))
    assert torch.linalg.matrix_rank(gaussian.sqrt) == 4
    assert torch.allclose(gaussian.sqrt @ gaussian.sqrt, gaussian.covariance, atol=1e-12)


def test_the_square_root_is_computed_once() -> None:
    gaussian = Gaussian.fit(embeddings(0, 5, 3))
    assert gaussian.sqrt is gaussian.sqrt


def test_frames_of_any_precision_give_float64_statistics() -> None:
    gaussian = Gaussian.fit(embeddings(0, 5, 3).half())
    assert (gaussian.mean.dtype, gaussian.covariance.dtype) == (torch.float64, torch.float64)
    assert gaussian.dim == 3


def test_a_gaussian_survives_its_tensors_and_pickling() -> None:
    gaussian = Gaussian.fit(embeddings(0, 5, 3))
    for copy in (Gaussian.from_tensors(gaussian.to_tensors()), pickle.loads(pickle.dumps(gaussian))):  # noqa: S301
        assert torch.equal(copy.mean, gaussian.mean)
        assert torch.equal(copy.covariance, gaussian.covariance)
        assert copy.count == 5


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (torch.zeros(1, 3), "1 frame"),
        (torch.zeros(0, 3), "0 frame"),
        (torch.zeros(3), r"not of shape \(3,\)"),
        (torch.zeros(2, 3, 4), r"not of shape \(2, 3, 4\)"),
        (torch.tensor([[0.0], [1.0], [torch.nan]]), "NaN.* frame 2"),
        (torch.tensor([[0.0], [torch.inf]]), "infinite.* frame 1"),
    ],
)
def test_frames_without_a_gaussian_are_refused(frames: torch.Tensor, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        Gaussian.fit(frames)


@pytest.mark.parametrize(
    ("mean", "covariance", "count", "cause"),
    [
        (torch.zeros(2).double(), torch.zeros(3, 3).double(), 5, r"not \(2,\) and \(3, 3\)"),
        (torch.zeros(2, 2).double(), torch.zeros(2, 2, 2, 2).double(), 5, "needs a mean"),
        (torch.zeros(2), torch.zeros(2, 2), 5, "float64"),
        (torch.zeros(2).double(), torch.zeros(2, 2).double(), 1, "at least 2 frames, not 1"),
        (torch.zeros(2).double(), torch.full((2, 2), torch.nan).double(), 5, "finite"),
    ],
)
def test_statistics_that_are_no_gaussian_are_refused(
    mean: torch.Tensor, covariance: torch.Tensor, count: int, cause: str
) -> None:
    with pytest.raises(DragonError, match=cause):
        Gaussian(mean, covariance, count)


def test_tensors_without_a_count_are_refused() -> None:
    tensors = Gaussian.fit(embeddings(0, 5, 3)).to_tensors()
    del tensors["count"]
    with pytest.raises(DragonError, match="lack count"):
        Gaussian.from_tensors(tensors)


def test_gaussians_of_two_spaces_do_not_merge() -> None:
    with pytest.raises(DragonError, match=r"has 3 dimensions.* 2"):
        Gaussian.fit(embeddings(0, 5, 2)).merge(Gaussian.fit(embeddings(0, 5, 3)))
