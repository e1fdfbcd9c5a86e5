from __future__ import annotations

from math import sqrt

import pytest
import torch
from support.metric_cases import embeddings, songs
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian, dataset_fad, fad_infinity, frechet_distance


def gaussian(dim: int, offset: float, scale: float) -> Gaussian:
    """The distribution of `drawn` clips itself."""
    mean = offset * torch.eye(dim, dtype=torch.float64)[0]
    return Gaussian(mean, scale * torch.diag(torch.logspace(0, -2, dim, dtype=torch.float64)), 10**6)


def drawn(clips: int, population: Gaussian, generator: torch.Generator) -> list[Tensor]:
    """Clips of 5 frames each; half of a frame's variance is that of its clip."""
    own = torch.randn(clips, 1, population.dim, generator=generator, dtype=torch.float64)
    frames = torch.randn(clips, 5, population.dim, generator=generator, dtype=torch.float64)
    return list((own + frames) / sqrt(2) @ population.sqrt + population.mean)


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (0.5, 1.5)])
def test_the_interval_covers_the_true_distance_about_as_often_as_it_says(offset: float, scale: float) -> None:
    reference, population = gaussian(4, 0, 1), gaussian(4, offset, scale)
    true = float(frechet_distance(population, reference))
    generator = torch.Generator().manual_seed(3)
    found = [fad_infinity(drawn(40, population, generator), reference).interval for _ in range(200)]
    covered = sum(low <= true <= high for low, high in found)
    assert 182 <= covered <= 198  # 95% of 200 draws are 190, give or take 3


def test_sets_of_different_size_have_one_distance() -> None:
    reference, population = gaussian(12, 0, 1), gaussian(12, 0.1, 1)
    generator = torch.Generator().manual_seed(0)
    few, many = (drawn(clips, population, generator) for clips in (50, 800))
    true = frechet_distance(population, reference)
    assert dataset_fad(few, reference) > 3 * dataset_fad(many, reference)
    for clips in (few, many):
        found = fad_infinity(clips, reference)
        assert found.interval[0] <= true <= found.interval[1]
    assert fad_infinity(few, reference).r2 > 0.8


def test_identical_distributions_may_have_a_distance_below_zero() -> None:
    reference, generator = gaussian(8, 0, 1), torch.Generator().manual_seed(0)
    found = [fad_infinity(drawn(40, reference, generator), reference) for _ in range(40)]
    values, biases = (torch.tensor(each) for each in zip(*((one.value, one.slope / 40) for one in found), strict=True))
    assert values.min() < 0 < values.max()
    assert values.mean().abs() < 0.2 * biases.mean()


def test_the_value_is_the_distance_of_all_clips_less_its_bias() -> None:
    clips, reference = songs(1, [5, 9, 7] * 5, 4), Gaussian.fit(embeddings(99, 50, 4))
    found = fad_infinity(clips, reference)
    assert found.value == pytest.approx(float(dataset_fad(clips, reference)) - found.slope / 15)
    assert found.interval[0] < found.value < found.interval[1]


def test_one_seed_gives_one_value_and_another_seed_another() -> None:
    clips, reference = songs(1, [5] * 20, 4), Gaussian.fit(embeddings(99, 50, 4))
    first, again = (fad_infinity(clips, reference) for _ in range(2))
    other = fad_infinity(clips, reference, torch.Generator().manual_seed(1))
    assert first == again
    assert first != other
    assert other.value == pytest.approx(first.value, abs=first.interval[1] - first.interval[0])


def test_scaling_all_embeddings_scales_the_result_by_the_square() -> None:
    clips, other = songs(1, [5] * 12, 3), embeddings(99, 50, 3)
    small, large = (
        fad_infinity(clips, Gaussian.fit(other)),
        fad_infinity([c * 1e4 for c in clips], Gaussian.fit(other * 1e4)),
    )
    assert large.value == pytest.approx(1e8 * small.value, rel=1e-8)
    assert large.interval == pytest.approx([1e8 * end for end in small.interval], rel=1e-7)
    assert large.r2 == pytest.approx(small.r2, rel=1e-6)


def test_clips_without_any_variance_are_certain() -> None:
    found = fad_infinity([torch.ones(3, 2)] * 8, Gaussian(torch.zeros(2).double(), torch.zeros(2, 2).double(), 9))
    assert (found.value, found.interval, found.slope) == (2, (2, 2), 0)


@pytest.mark.parametrize(
    ("clips", "cause"),
    [
        ([], "no clips"),
        ([torch.zeros(4, 2)] * 7, "at least 8 clips, and there are 7"),
        ([torch.zeros(4, 2)] * 8 + [torch.tensor([[0.0, torch.nan]])], "clip 8 has NaN .* frame 0"),
        ([torch.zeros(4, 2)] * 8 + [torch.zeros(0, 2)], "clip 8 has 0 frame"),
        ([torch.zeros(4, 2)] * 8 + [torch.zeros(4, 3)], "clip 8 has 3 dimensions.* has 2"),
    ],
)
def test_clips_without_an_extrapolation_are_refused(clips: list[Tensor], cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        fad_infinity(clips, Gaussian.fit(embeddings(0, 5, 2)))
