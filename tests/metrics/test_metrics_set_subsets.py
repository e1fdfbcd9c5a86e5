"""What is prepared for many subsets is what each subset has alone; selection and losses are as by brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, seeds, songs, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError, TooFewClipsError
from dragon_rewards.metrics import (
    Gaussian,
    Points,
    coverage,
    coverage_subsets,
    density,
    density_subsets,
    exchange_losses,
    fad_infinity,
    fad_infinity_subsets,
    kernel_audio_distance,
    kernel_audio_distance_subsets,
    maximum_mean_discrepancy,
    maximum_mean_discrepancy_subsets,
    negated,
    precision,
    precision_subsets,
    recall,
    recall_subsets,
    select_positive,
)

CLIPS, EXEMPLARS, K, WIDTH = 9, 12, 2, 1.5

Metric = Callable[[Tensor, Tensor], Tensor]
Prepared = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


def counted(metric: Callable[[Tensor, Tensor, int], float]) -> Metric:
    return lambda x, y: torch.tensor(metric(x, y, K), dtype=torch.float64)


def prepared(subsets: Callable[[Tensor, Tensor, int], Callable[[Tensor], Tensor]]) -> Prepared:
    return lambda x, y: subsets(x, y, K)


METRICS: dict[str, tuple[Metric, Prepared]] = {
    "kad": (
        lambda x, y: kernel_audio_distance(x, y, WIDTH),
        lambda x, y: kernel_audio_distance_subsets(x, y, WIDTH),
    ),
    "mmd": (maximum_mean_discrepancy, maximum_mean_discrepancy_subsets),
    "precision": (counted(precision), prepared(precision_subsets)),
    "recall": (counted(recall), prepared(recall_subsets)),
    "density": (counted(density), prepared(density_subsets)),
    "coverage": (counted(coverage), prepared(coverage_subsets)),
}
KERNELS = ("kad", "mmd")


@pytest.mark.parametrize("name", METRICS)
@thorough
@given(seeds, dims, st.lists(st.lists(st.integers(0, CLIPS - 1), min_size=4, max_size=4), min_size=1, max_size=5))
def test_subsets_have_the_values_of_one_call_each(name: str, seed: int, dim: int, rows: list[list[int]]) -> None:
    """An index that occurs twice is two equal points."""
    metric, subsets = METRICS[name]
    x, y = embeddings(seed, CLIPS, dim), embeddings(seed + 1, EXEMPLARS, dim)
    expected = torch.stack([metric(x[row], y) for row in rows])
    assert torch.allclose(subsets(x, y)(torch.tensor(rows)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", KERNELS)
@thorough
@given(seeds, dims)
def test_the_expansion_is_the_change_of_every_choice(name: str, seed: int, dim: int) -> None:
    """Of four pairs: r(z) - r(0) up to a constant, which is r of the mixture."""
    value = METRICS[name][1](embeddings(seed, 8, dim), embeddings(seed + 1, EXEMPLARS, dim))
    each = torch.eye(4)
    expansion = value.expansion(torch.arange(8), torch.full((8,), 0.5), torch.cat([-each, each], dim=1))  # type: ignore[attr-defined]
    choices = torch.tensor(list(product([0, 1], repeat=4)))
    found = value(torch.arange(4) + 4 * choices)
    rest = found - expansion.changes(choices.double() - 0.5)
    assert torch.allclose(rest, rest[0].expand(16), rtol=1e-9, atol=1e-9 * float(found.abs().max()))


@pytest.mark.parametrize("name", METRICS)
def test_selection_finds_the_best_of_all_choices(name: str) -> None:
    pairs = 6
    x, y = embeddings(3, 2 * pairs, 3), embeddings(4, EXEMPLARS, 3) + 0.5
    metric, subsets = METRICS[name]
    value = negated(subsets(x, y)) if name in KERNELS else subsets(x, y)
    sign = -1 if name in KERNELS else 1
    choices = torch.arange(pairs) + pairs * torch.tensor(list(product([0, 1], repeat=pairs)))
    best = max(float(sign * metric(x[row], y)) for row in choices)
    assert select_positive(pairs, value).value == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_losses_are_those_of_exchanging_each_pair(name: str) -> None:
    pairs = 5
    x, y, pool = embeddings(5, 16, 3), embeddings(6, EXEMPLARS, 3), torch.arange(10, 16)
    metric, subsets = METRICS[name]
    value = subsets(x, y)
    for beside in (None, pool):
        chosen = select_positive(pairs, value, pool=beside)
        held = [] if beside is None else beside.tolist()
        whole = float(metric(x[chosen.positive.tolist() + held], y))
        expected = []
        for at in range(pairs):
            row = chosen.positive.clone()
            row[at] = chosen.negative[at]
            expected.append(whole - float(metric(x[row.tolist() + held], y)))
        assert exchange_losses(chosen, value, pool=beside).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def cubic_of_sums(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    def within(rows: Tensor) -> float:
        return sum(kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j)

    m, n = len(x), len(y)
    between = sum(kernel(a, b) for a in x for b in y)
    return within(x) / (m * (m - 1)) + within(y) / (n * (n - 1)) - 2 * between / (m * n)


def test_the_discrepancy_is_that_of_its_formula_and_differentiable() -> None:
    x, y = embeddings(1, 7, 3).double(), embeddings(2, 9, 3).double()
    assert float(maximum_mean_discrepancy(x, y)) == pytest.approx(cubic_of_sums(x, y), rel=1e-12)
    assert torch.autograd.gradcheck(lambda rows: maximum_mean_discrepancy(rows, y), x.requires_grad_())


def test_the_bandwidth_of_points_is_the_median_and_points_survive_a_file() -> None:
    points = Points(embeddings(1, 20, 3))
    again = Points.from_tensors(points.to_tensors())
    assert torch.equal(again.embeddings, points.embeddings)
    assert again.bandwidth == points.bandwidth == float(torch.pdist(points.embeddings).median())
    with pytest.raises(DragonError, match="set of points has 1 frame"):
        Points(torch.zeros(1, 3))
    with pytest.raises(DragonError, match="no points"):
        Points.from_tensors({})


@pytest.mark.parametrize(("name", "few"), [("kad", 1), ("mmd", 1), ("recall", K)])
def test_subsets_that_are_too_small_are_refused(name: str, few: int) -> None:
    value = METRICS[name][1](embeddings(1, CLIPS, 3), embeddings(2, EXEMPLARS, 3))
    with pytest.raises(DragonError, match="needs"):
        value(torch.arange(few)[None])


def test_the_extrapolated_distance_of_subsets_is_drawn_by_their_clips() -> None:
    clips, reference = songs(1, [5] * 24, 4), Gaussian.fit(embeddings(2, 200, 4))
    value = fad_infinity_subsets(clips, reference)
    row = torch.arange(20)
    found = value(torch.stack([row, row.flip(0)]))
    assert found[0] == pytest.approx(float(found[1]), rel=1e-9)
    alone = fad_infinity_subsets([clips[index] for index in row], reference)(row[None])
    assert alone[0] == pytest.approx(float(found[0]), rel=1e-9)
    drawn = [fad_infinity(clips[:20], reference, torch.Generator().manual_seed(seed)).value for seed in range(20)]
    spread = torch.tensor(drawn).std()
    assert abs(float(found[0]) - sum(drawn) / len(drawn)) < 4 * spread  # another draw, of the same distribution
    with pytest.raises(TooFewClipsError, match="at least 8"):
        value(row[None, :7])
