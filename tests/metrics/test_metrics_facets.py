"""Facets are the best clusters; coverage is one less the total variation, and 1 for the set itself."""

from __future__ import annotations

from itertools import product
from math import pi, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.metric_cases import embeddings, rotation, seeds, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Facets, facet_coverage, facet_coverage_subsets, select_positive

quick = settings(thorough, max_examples=12)  # of k-means each, which takes 10 ms
counts = st.integers(2, 5)


def blobs(sizes: list[int], dim: int = 3, apart: float = 20.0, seed: int = 0) -> Tensor:
    """Unit Gaussians at multiples of `apart` along the axes, (sum of sizes, dim)."""
    noise = torch.randn(sum(sizes), dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    centres = apart * torch.eye(dim, dtype=torch.float64)[: len(sizes)]
    return noise + centres.repeat_interleave(torch.tensor(sizes), dim=0)


def clips(points: Tensor) -> list[Tensor]:
    """Two frames each, whose mean is the point."""
    return [torch.stack([point - 1, point + 1]) for point in points]


def inertia(points: Tensor, labels: Tensor) -> float:
    parts = [points[labels == label] for label in labels.unique()]
    return sum(float((part - part.mean(0)).square().sum()) for part in parts)


@pytest.mark.parametrize("seed", range(2))
def test_the_partition_is_the_best_of_all(seed: int) -> None:
    points = embeddings(seed, 8, 2)
    labels = Facets.fit(points, 3).memberships(points).argmax(1)
    every = (torch.tensor([0, *rest]) for rest in product(range(3), repeat=7))
    best = min(inertia(points, each) for each in every if len(each.unique()) == 3)
    assert inertia(points, labels) == pytest.approx(best, rel=1e-12)


def test_clusters_that_are_apart_are_found_whatever_the_seed_the_largest_first() -> None:
    sizes = [10, 25, 5]
    points = blobs(sizes)
    means = torch.stack([part.mean(0) for part in points.split(sizes)])[[1, 0, 2]]
    for seed in range(5):
        facets = Facets.fit(points, 3, seed)
        assert torch.allclose(facets.centroids, means, rtol=0, atol=1e-9)
        assert facets.shares.tolist() == pytest.approx([0.625, 0.25, 0.125], abs=1e-9)
    again = Facets.fit(points, 3, seed=1)
    assert all(
        torch.equal(a, b) for a, b in zip(again.to_tensors().values(), facets.to_tensors().values(), strict=True)
    )


@quick
@given(seeds, st.integers(1, 4), counts)
def test_memberships_are_those_of_distances_in_the_whole_space(seed: int, dim: int, count: int) -> None:
    points, others = embeddings(seed, 20, dim), embeddings(seed + 1, 7, dim)
    facets = Facets.fit(points, count)
    squares = (others[:, None] - facets.centroids).square().sum(-1)
    expected = (-squares / (2 * facets.variance)).softmax(1)
    assert torch.allclose(facets.memberships(others), expected, rtol=1e-6, atol=1e-9)


def test_directions_that_no_facet_differs_in_play_no_part() -> None:
    points = torch.cat([blobs([8, 4], dim=2, apart=3), torch.zeros(12, 6, dtype=torch.float64)], dim=1)
    noise = torch.cat([torch.zeros(12, 2), torch.randn(12, 6, generator=torch.Generator().manual_seed(1))], dim=1)
    facets = Facets.fit(points, 2)
    assert torch.allclose(facets.memberships(points + 5 * noise), facets.memberships(points), rtol=1e-9)


@quick
@given(seeds, st.integers(1, 5), counts, st.integers(2, 12))
def test_coverage_is_bounded_and_1_for_the_set_itself(seed: int, dim: int, count: int, few: int) -> None:
    points = embeddings(seed, 24, dim)
    facets = Facets.fit(points, count, seed)
    assert float(facet_coverage(clips(points), facets)) == pytest.approx(1, abs=1e-9)
    other = clips(embeddings(seed + 1, few, dim))
    found = facet_coverage(other, facets)
    assert 0 <= found <= 1 + 1e-12
    shared = facets.memberships(torch.stack([clip.mean(0) for clip in other])).mean(0)
    assert float(found) == pytest.approx(1 - float((shared - facets.shares).abs().sum()) / 2, abs=1e-12)


@quick
@given(seeds, st.integers(2, 5), st.floats(-3, 3).map(lambda exponent: 10.0**exponent))
def test_rotation_translation_and_scale_change_nothing(seed: int, dim: int, c: float) -> None:
    points, other, turn = blobs([9, 6], dim, seed=seed), embeddings(seed, 8, dim), rotation(seed, dim)
    before = facet_coverage(clips(other), Facets.fit(points, 2))
    moved = [c * (clip @ turn + 100) for clip in clips(other)]
    assert torch.allclose(facet_coverage(moved, Facets.fit(c * (points @ turn + 100), 2)), before, rtol=0, atol=1e-6)


def test_clips_of_a_single_facet_cover_its_share() -> None:
    points = blobs([10, 25, 5])
    facets, parts = Facets.fit(points, 3), points.split([10, 25, 5])
    found = [float(facet_coverage(clips(part), facets)) for part in parts]
    assert found == pytest.approx([0.25, 0.625, 0.125], abs=1e-9)
    mixed = [float(facet_coverage(clips(torch.cat([parts[1][:n], parts[0][: 10 - n]])), facets)) for n in range(11)]
    assert mixed == pytest.approx([min(n / 10, 0.625) + min(1 - n / 10, 0.25) for n in range(11)], abs=1e-9)


def test_a_small_sample_covers_what_the_docstring_says() -> None:
    points = blobs([50] * 8, dim=8)
    draws = torch.randint(400, (500, 32), generator=torch.Generator().manual_seed(0))
    found = facet_coverage_subsets(clips(points), Facets.fit(points, 8))(draws).mean()
    assert float(found) == pytest.approx(1 - 8 * sqrt(1 / 8 * 7 / 8 / (2 * pi * 32)), abs=0.01)
    assert float(found) == pytest.approx(0.81, abs=0.01)


@quick
@given(seeds, counts, st.integers(1, 6))
def test_subsets_have_the_values_of_one_call_each(seed: int, count: int, size: int) -> None:
    facets, judged = Facets.fit(embeddings(seed, 20, 3), count), clips(embeddings(seed + 1, 9, 3))
    rows = torch.randint(9, (12, size), generator=torch.Generator().manual_seed(seed))
    expected = torch.stack([facet_coverage([judged[index] for index in row], facets) for row in rows.tolist()])
    assert torch.allclose(facet_coverage_subsets(judged, facets)(rows), expected, rtol=1e-12)


def test_many_subsets_are_valued_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    facets, judged = Facets.fit(blobs([9, 6]), 2), clips(blobs([5, 4]))
    rows = torch.randint(9, (50, 4), generator=torch.Generator().manual_seed(0))
    whole = facet_coverage_subsets(judged, facets)(rows)
    monkeypatch.setattr("dragon_rewards.metrics.facets.BATCH_ELEMENTS", 30)
    assert torch.equal(facet_coverage_subsets(judged, facets)(rows), whole)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_finite_differences(seed: int) -> None:
    facets = Facets.fit(blobs([9, 6, 3], apart=3), 3)
    judged = blobs([2, 1, 1], apart=3, seed=seed + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda points: facet_coverage(clips(points), facets), judged)
    rows = torch.tensor([[0, 1], [2, 3]])
    assert torch.autograd.gradcheck(lambda points: facet_coverage_subsets(clips(points), facets)(rows), judged)


def test_gradients_lead_clips_of_one_facet_to_the_others() -> None:
    facets = Facets.fit(blobs([10, 10], apart=1.5), 2)
    points = blobs([10], apart=1.5, seed=3).requires_grad_()
    before = float(facet_coverage(clips(points.detach()), facets))
    for _ in range(50):
        (slope,) = torch.autograd.grad(facet_coverage(clips(points), facets), points)
        points = (points + 5 * slope).detach().requires_grad_()
    assert before < 0.8
    assert float(facet_coverage(clips(points.detach()), facets)) > 0.98


def test_facets_without_spread_have_finite_gradients() -> None:
    facets = Facets.fit(torch.eye(3).repeat(4, 1), 3)
    assert facets.shares.tolist() == pytest.approx([1 / 3] * 3)
    points = torch.eye(3)[:2].clone().requires_grad_()
    (slope,) = torch.autograd.grad(facet_coverage(list(points.split(1)), facets), points)
    assert slope.isfinite().all()


def test_selection_by_coverage_takes_from_each_facet() -> None:
    points = blobs([10, 10])
    value = facet_coverage_subsets(clips(points), Facets.fit(points, 2))
    assert value(torch.arange(20).view(2, 10)).tolist() == pytest.approx([0.5, 0.5])  # A and B are of one facet each
    chosen = select_positive(10, value)
    assert chosen.value == pytest.approx(1)
    assert int((chosen.positive < 10).sum()) == 5


@pytest.mark.parametrize("count", [-1, 0, 1, 5])
def test_counts_that_do_not_fit_are_refused(count: int) -> None:
    with pytest.raises(DragonError, match=f"^{count} facets cannot be made of 4 different"):
        Facets.fit(torch.tensor([[0.0], [0.0], [1.0], [2.0], [3.0]]), count)


def test_tensors_that_make_no_facets_are_refused() -> None:
    good = Facets.fit(blobs([9, 6]), 2).to_tensors()
    same = Facets.from_tensors(good)
    assert torch.equal(same.centroids, good["centroids"])
    wrong = {
        "centroids": [good["centroids"][0], good["centroids"][:1], good["centroids"].float()],
        "variance": [torch.zeros((), dtype=torch.float64), good["shares"]],
        "shares": [good["shares"][:1], -good["shares"], good["shares"] / 0],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(DragonError, match="facets"):
                Facets.from_tensors(good | {name: value})
    with pytest.raises(DragonError, match="facets lack shares"):
        Facets.from_tensors({"centroids": good["centroids"], "variance": good["variance"]})


def test_clips_of_another_space_are_refused() -> None:
    with pytest.raises(DragonError, match="clip 0 has 2 dimensions"):
        facet_coverage([torch.ones(3, 2)], Facets.fit(blobs([9, 6]), 2))
    with pytest.raises(DragonError, match="has 2 dimensions"):
        Facets.fit(blobs([9, 6]), 2).memberships(torch.ones(3, 2))
