from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from support.metric_cases import dims, embeddings, lengths, rotation, seeds, songs, thorough

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian

if TYPE_CHECKING:
    from collections.abc import Callable


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


def negative(covariance: torch.Tensor) -> torch.Tensor:
    """What scored a perfect 0 against anything, while it was taken."""
    return -covariance - torch.eye(len(covariance)).double()


def lopsided(covariance: torch.Tensor) -> torch.Tensor:
    return covariance + 2e-10 * covariance.abs().max() * torch.ones_like(covariance).triu(1)


def indefinite(covariance: torch.Tensor) -> torch.Tensor:
    """With an eigenvalue of -2e-10 of the largest."""
    values, vectors = torch.linalg.eigh(covariance)
    values[0] = -2e-10 * values[-1]
    spoilt: torch.Tensor = vectors * values @ vectors.mT
    return spoilt


NO_COVARIANCES: dict[Callable[[torch.Tensor], torch.Tensor], str] = {
    negative: "no negative eigenvalue",
    lopsided: "symmetric",
    indefinite: "no negative eigenvalue",
}


@pytest.mark.parametrize("spoilt", NO_COVARIANCES)
@pytest.mark.parametrize("frames", [4, 40])
def test_what_is_no_covariance_is_refused_wherever_it_comes_from(
    spoilt: Callable[[torch.Tensor], torch.Tensor], frames: int
) -> None:
    fitted = Gaussian.fit(embeddings(0, frames, 8))
    wrong = spoilt(fitted.covariance)
    with pytest.raises(DragonError, match=NO_COVARIANCES[spoilt]):
        Gaussian(fitted.mean, wrong, fitted.count)
    with pytest.raises(DragonError, match=NO_COVARIANCES[spoilt]):
        Gaussian.from_tensors({**fitted.to_tensors(), "covariance": wrong})


@pytest.mark.parametrize("frames", [4, 40])
def test_rounding_makes_no_covariance_wrong(frames: int) -> None:
    fitted = Gaussian.fit(embeddings(0, frames, 8))
    noise = 2e-11 * fitted.covariance.abs().max() * torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    assert Gaussian(fitted.mean, fitted.covariance + (noise + noise.mT) / 2, frames).count == frames
    assert Gaussian(fitted.mean, fitted.covariance + noise.clamp(-2e-11, 2e-11), frames).count == frames
    assert Gaussian(fitted.mean, torch.zeros(8, 8).double(), frames).count == frames


def test_what_its_maker_kept_in_float32_has_room_for_that() -> None:
    fitted = Gaussian.fit(embeddings(0, 40, 128) @ rotation(1, 128))
    rounded = fitted.covariance.float().double()
    values = torch.linalg.eigvalsh(rounded)
    assert -6e-7 < values[0] / values[-1] < -1e-10
    assert Gaussian(fitted.mean, rounded, 40).dim == 128
    with pytest.raises(DragonError, match="no negative eigenvalue"):
        Gaussian(fitted.mean, (1 + 1e-12) * rounded, 40)


def test_little_that_is_left_of_much_is_known_to_be_rounding() -> None:
    little, much = embeddings(0, 4, 8), 1e8 * embeddings(1, 40, 8)
    whole = Gaussian.fit(torch.cat([little, much]))
    assert whole.without(Gaussian.fit(little)).is_sound
    assert not whole.without(Gaussian.fit(much)).is_sound


def test_what_is_fitted_or_merged_is_not_decomposed_to_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("eigenvalues were asked for")

    monkeypatch.setattr("dragon_rewards.metrics.gaussian.eigenvalues", refuse)
    merged = Gaussian.fit(embeddings(0, 3, 8)).merge(Gaussian.fit(embeddings(1, 3, 8)))
    assert merged.without(Gaussian.fit(embeddings(1, 3, 8))).to(merged.mean.device).constant(3).count == 3
    with pytest.raises(AssertionError, match="asked for"):
        Gaussian(merged.mean, merged.covariance, merged.count)


def test_a_factor_of_another_covariance_is_refused() -> None:
    fitted = Gaussian.fit(embeddings(0, 4, 8))
    assert fitted.triangle is not None
    upper = fitted.triangle + torch.ones(8, 8).double().triu(1)
    turned = fitted.triangle * torch.tensor([1.0, -1.0] * 4).double()[:, None]  # as large in every direction
    for wrong, cause in ((upper, "lower triangular"), (turned, "does not give its covariance")):
        with pytest.raises(DragonError, match=cause):
            Gaussian.from_tensors({**fitted.to_tensors(), "factor": wrong})


@pytest.mark.parametrize("count", [torch.tensor(5.5), torch.tensor([5, 6]), torch.tensor(float("inf"))])
def test_a_count_that_is_none_is_refused(count: torch.Tensor) -> None:
    with pytest.raises(DragonError, match=r"a count of frames is one torch\.int64"):
        Gaussian.from_tensors({**Gaussian.fit(embeddings(0, 5, 3)).to_tensors(), "count": count})


def test_tensors_without_a_count_are_refused() -> None:
    tensors = Gaussian.fit(embeddings(0, 5, 3)).to_tensors()
    del tensors["count"]
    with pytest.raises(DragonError, match="lack count"):
        Gaussian.from_tensors(tensors)


def test_gaussians_of_two_spaces_do_not_merge() -> None:
    with pytest.raises(DragonError, match=r"has 3 dimensions.* 2"):
        Gaussian.fit(embeddings(0, 5, 2)).merge(Gaussian.fit(embeddings(0, 5, 3)))
