from __future__ import annotations

from dataclasses import astuple
from math import prod
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, rotation, seeds, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import coverage, density, prdc, precision, recall

if TYPE_CHECKING:
    from collections.abc import Callable

neighbours = st.integers(1, 4)
counts = st.integers(5, 12)


def lattice(seed: int, count: int, dim: int) -> Tensor:
    """Frames with small whole coordinates: full of duplicates and ties."""
    return torch.randint(3, (count, dim), generator=torch.Generator().manual_seed(seed)).float()


def prdc_of_loops(generated: Tensor, reference: Tensor, k: int) -> tuple[float, float, float, float]:
    """The definitions of the papers, pair by pair, in whole numbers: squared distances of frames on a lattice."""
    Y, X = generated.long().tolist(), reference.long().tolist()

    def square(a: list[int], b: list[int]) -> int:
        return sum((i - j) ** 2 for i, j in zip(a, b, strict=True))

    def radii(frames: list[list[int]]) -> list[int]:
        others = [[square(a, b) for j, b in enumerate(frames) if j != i] for i, a in enumerate(frames)]
        return [sorted(distances)[k - 1] for distances in others]

    real, fake = radii(X), radii(Y)
    inside = [[square(y, x) <= radius for x, radius in zip(X, real, strict=True)] for y in Y]
    recalled = [any(square(x, y) <= radius for y, radius in zip(Y, fake, strict=True)) for x in X]
    held = [sum(row) for row in inside]
    covered = [any(column) for column in zip(*inside, strict=True)]
    m, n = len(Y), len(X)
    return sum(count > 0 for count in held) / m, sum(recalled) / n, sum(held) / (k * m), sum(covered) / n


def one_by_one(generated: Tensor, reference: Tensor, k: int) -> tuple[float, ...]:
    return tuple(measure(generated, reference, k) for measure in (precision, recall, density, coverage))


@thorough
@given(seeds, counts, counts, st.integers(1, 4), neighbours)
def test_duplicates_and_ties_count_as_in_whole_numbers(seed: int, m: int, n: int, dim: int, k: int) -> None:
    generated, reference = lattice(seed, m, dim), lattice(seed + 1, n, dim)
    assert astuple(prdc(generated, reference, k)) == prdc_of_loops(generated, reference, k)


@thorough
@given(seeds, counts, counts, dims, neighbours)
def test_one_pass_gives_the_values_of_four(seed: int, m: int, n: int, dim: int, k: int) -> None:
    generated, reference = embeddings(seed, m, dim), embeddings(seed + 1, n, dim)
    assert astuple(prdc(generated, reference, k)) == one_by_one(generated, reference, k)


@thorough
@given(seeds, counts, counts, dims, neighbours)
def test_rotation_translation_scale_and_order_are_irrelevant(seed: int, m: int, n: int, dim: int, k: int) -> None:
    generated, reference, turn = embeddings(seed, m, dim), embeddings(seed + 1, n, dim), rotation(seed, dim)
    fakes, reals = ((frames @ turn * 100 + 7).flip(0) for frames in (generated, reference))
    assert prdc(fakes, reals, k) == prdc(generated, reference, k)


@thorough
@given(seeds, counts, counts, dims, neighbours)
def test_recall_is_the_precision_of_the_sets_exchanged(seed: int, m: int, n: int, dim: int, k: int) -> None:
    generated, reference = embeddings(seed, m, dim), embeddings(seed + 1, n, dim)
    assert recall(generated, reference, k) == precision(reference, generated, k)


@thorough
@given(seeds, counts, dims, neighbours)
def test_a_set_is_precise_and_complete_about_itself(seed: int, count: int, dim: int, k: int) -> None:
    frames = embeddings(seed, count, dim)
    itself = prdc(frames, frames, k)
    assert (itself.precision, itself.recall, itself.coverage) == (1, 1, 1)
    assert itself.density == pytest.approx((k + 1) / k)  # each ball holds its k neighbours and its own centre


def test_small_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, reference = embeddings(1, 11, 3), embeddings(1, 13, 3)
    whole = prdc(generated, reference)
    monkeypatch.setattr("dragon_rewards.metrics.neighbours.BATCH_ELEMENTS", 30)
    assert prdc(generated, reference) == whole
    assert one_by_one(generated, reference, 5) == astuple(whole)


def test_ties_hold_far_from_the_origin() -> None:
    generated, reference = lattice(1, 9, 3), lattice(2, 8, 3)
    assert prdc(generated.double() + 1e9, reference.double() + 1e9, 2) == prdc(generated, reference, 2)


def test_ties_hold_at_any_dimension() -> None:
    reference = torch.randn(50, 513, generator=torch.Generator().manual_seed(0))
    assert prdc(reference[:10], reference, 2).precision == 1
    assert coverage(reference.repeat(4, 1)[::3], reference.repeat(4, 1), 3) == 1  # four equal frames: radius 0


def test_equal_distributions_have_the_expected_density_and_coverage() -> None:
    generator, k, n, m = torch.Generator().manual_seed(0), 5, 300, 200
    values = [prdc(torch.randn(m, 4, generator=generator), torch.randn(n, 4, generator=generator)) for _ in range(20)]
    expected = 1 - prod(range(n - k, n)) / prod(range(m + n - k, m + n))
    assert sum(value.density for value in values) / 20 == pytest.approx(1, abs=0.02)
    assert sum(value.coverage for value in values) / 20 == pytest.approx(expected, abs=0.01)


def test_an_outlier_of_the_reference_raises_precision_and_hardly_density() -> None:
    reference = torch.cat([torch.linspace(0, 1, 20), torch.tensor([100.0])]).unsqueeze(1)
    generated = torch.linspace(20, 30, 50).unsqueeze(1)
    assert precision(generated, reference) == 1
    assert density(generated, reference) == pytest.approx(1 / 5)


def test_copies_of_one_frame_are_precise_and_do_not_cover() -> None:
    reference = embeddings(1, 50, 3)
    copies = prdc(reference[:1].repeat(50, 1), reference)
    assert copies.precision == 1
    assert copies.recall == 1 / 50  # copies have balls of radius 0, which hold the frame itself
    assert copies.coverage < 0.5


def test_a_set_may_be_small_where_its_balls_are_not_asked_for() -> None:
    few, many = embeddings(1, 2, 3), embeddings(2, 9, 3)
    assert 0 <= precision(few, many) <= 1
    assert 0 <= recall(many, few) <= 1


measures: list[Callable[[Tensor, Tensor, int], object]] = [precision, recall, density, coverage, prdc]
good = embeddings(0, 9, 2)


@pytest.mark.parametrize("measure", measures)
@pytest.mark.parametrize(
    ("generated", "reference", "cause"),
    [
        (torch.tensor([[0.0, torch.nan]] * 3), good, "generated set has NaN .* frame 0"),
        (good, torch.full((9, 2), torch.inf), "reference has NaN or infinite"),
        (torch.zeros(0, 2), good, "generated set has 0 frame"),
        (good, torch.zeros(0, 2), "reference has 0 frame"),
        (torch.zeros(9), good, "generated set must be a matrix"),
        (torch.zeros(9, 3), good, "generated set has 3 dimensions.* has 2"),
    ],
)
def test_sets_that_cannot_be_judged_are_named(
    measure: Callable[[Tensor, Tensor, int], object], generated: Tensor, reference: Tensor, cause: str
) -> None:
    with pytest.raises(DragonError, match=cause):
        measure(generated, reference, 2)


@pytest.mark.parametrize("measure", measures)
@pytest.mark.parametrize("k", [0, -1, 9, 10])
def test_a_neighbour_that_does_not_exist_is_refused(measure: Callable[[Tensor, Tensor, int], object], k: int) -> None:
    with pytest.raises(DragonError, match=rf"k = {k} .* of 9 frame.* choose another k"):
        measure(good, good, k)


def test_the_set_that_is_too_small_is_named() -> None:
    with pytest.raises(DragonError, match="k = 5 does not fit the reference of 3"):
        prdc(good, good[:3])
    with pytest.raises(DragonError, match="k = 5 does not fit the generated set of 3"):
        prdc(good[:3], good)
