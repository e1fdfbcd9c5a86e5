from __future__ import annotations

from math import inf

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, seeds, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import vendi_matched, vendi_score


def directions_of(seed: int, count: int) -> Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed))


@thorough
@given(seeds, dims, st.integers(1, 6), st.sampled_from([0.5, 1.0, 2.0, inf]))
def test_exchanging_the_sets_exchanges_the_scores(seed: int, dim: int, size: int, q: float) -> None:
    a, b = embeddings(seed, 6, dim), embeddings(seed + 1, 9, dim)
    there, back = vendi_matched(a, b, q, size, rounds=5), vendi_matched(b, a, q, size, rounds=5)
    assert (there.mean_a, there.error_a, there.mean_b, there.error_b) == (
        back.mean_b,
        back.error_b,
        back.mean_a,
        back.error_a,
    )
    assert 1 - 1e-9 <= there.mean_a <= size + 1e-9


@thorough
@given(seeds, dims)
def test_a_subset_that_is_the_whole_set_has_its_score_and_no_error(seed: int, dim: int) -> None:
    a, b = embeddings(seed, 5, dim), embeddings(seed + 1, 8, dim)
    scores = vendi_matched(a, b, rounds=4)
    assert scores.size == 5
    assert scores.mean_a == pytest.approx(float(vendi_score(a)), rel=1e-9)
    assert scores.error_a == pytest.approx(0, abs=1e-9)


def test_means_and_errors_are_those_of_subsets_scored_alone() -> None:
    a, b = embeddings(1, 9, 4), embeddings(2, 7, 4)
    found = vendi_matched(a, b, 2.0, size=3, rounds=6, seed=5)
    for clips, mean, error in ((a, found.mean_a, found.error_a), (b, found.mean_b, found.error_b)):
        generator = torch.Generator().manual_seed(5)
        drawn = [torch.randperm(len(clips), generator=generator)[:3] for _ in range(6)]
        scores = torch.stack([vendi_score(clips[rows], 2.0) for rows in drawn])
        assert mean == pytest.approx(float(scores.mean()), rel=1e-9)
        assert error == pytest.approx(float(scores.std()) / 6**0.5, rel=1e-7)


def test_the_mean_of_random_subsets_is_that_of_all_subsets_within_its_error() -> None:
    clips = embeddings(3, 8, 5)
    subsets = torch.combinations(torch.arange(8), 4)
    everything = sum(float(vendi_score(clips[rows])) for rows in subsets) / len(subsets)
    scores = vendi_matched(clips, clips, size=4, rounds=400)
    assert abs(scores.mean_a - everything) < 4 * scores.error_a
    assert scores.error_a < 0.05


def test_size_biases_the_score_and_not_the_matched_one() -> None:
    few, many = directions_of(0, 20), directions_of(1, 500)
    assert float(vendi_score(many)) - float(vendi_score(few)) > 8  # one distribution, 24 dimensions
    scores = vendi_matched(few, many)
    assert abs(scores.mean_a - scores.mean_b) < 1


def test_the_less_diverse_set_scores_lower_though_it_is_larger() -> None:
    few, many = directions_of(0, 12), directions_of(1, 600) * torch.logspace(0, -1, 24)
    assert vendi_score(many) > vendi_score(few)
    scores = vendi_matched(few, many)
    assert scores.mean_b + 4 * scores.error_b < scores.mean_a


def test_a_seed_repeats_and_another_differs() -> None:
    a, b = embeddings(1, 9, 4), embeddings(2, 7, 4)
    assert vendi_matched(a, b, size=3) == vendi_matched(a, b, size=3)
    assert vendi_matched(a, b, size=3, seed=1) != vendi_matched(a, b, size=3)


@pytest.mark.parametrize(
    ("a", "b", "cause"),
    [
        (torch.ones(0, 3), torch.ones(2, 3), "set a has 0 frame"),
        (torch.ones(2, 3), torch.ones(3), "set b must be a matrix"),
        (torch.ones(2, 3), torch.tensor([[1.0, 0.0, torch.nan]]), "set b has NaN"),
        (torch.ones(2, 3), torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), "set b: embedding 1 is zero"),
        (torch.ones(2, 3), torch.ones(2, 4), "set a has 3 dimensions.* has 4"),
    ],
)
def test_sets_that_cannot_be_compared_are_named(a: Tensor, b: Tensor, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        vendi_matched(a, b)


@pytest.mark.parametrize("size", [0, -2, 4])
def test_a_size_that_cannot_be_drawn_is_refused(size: int) -> None:
    with pytest.raises(DragonError, match=f"subsets of {size} clips .* the smaller set has 3"):
        vendi_matched(torch.eye(3), torch.eye(4)[:, :3] + 1, size=size)


def test_one_round_and_an_order_below_zero_are_refused() -> None:
    with pytest.raises(DragonError, match="at least 2 rounds, not 1"):
        vendi_matched(torch.eye(3), torch.eye(3), rounds=1)
    with pytest.raises(DragonError, match=r"order q .* not -1"):
        vendi_matched(torch.eye(3), torch.eye(3), q=-1)
