from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import embeddings, seeds, songs, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import (
    Gaussian,
    Selection,
    dataset_fad_subsets,
    negated,
    select_pairs,
    select_positive,
    select_unpaired,
    vendi_subsets,
)

Value = Callable[[Tensor], Tensor]
few_pairs = st.integers(1, 5)


def nearness(seed: int, clips: int) -> Value:
    """Minus the dataset FAD of subsets of random songs."""
    distance = dataset_fad_subsets(songs(seed, [4] * clips, 3), Gaussian.fit(embeddings(seed + 999, 30, 3)))
    return lambda rows: -distance(rows)


def reward(value: Value, members: list[int], pool: Tensor | None = None) -> float:
    return float(value(torch.tensor([members + ([] if pool is None else pool.tolist())])))


def assert_split(chosen: Selection, pairs: int) -> None:
    assert len(chosen.positive) == len(chosen.negative) == pairs
    assert sorted([*chosen.positive.tolist(), *chosen.negative.tolist()]) == list(range(2 * pairs))


@thorough
@given(seeds, few_pairs, st.booleans())
def test_the_chosen_set_is_no_worse_than_either_set(seed: int, pairs: int, paired: bool) -> None:
    value = nearness(seed, 2 * pairs)
    chosen = select_positive(pairs, value, paired=paired, generator=torch.Generator().manual_seed(seed))
    assert_split(chosen, pairs)
    sets = reward(value, list(range(pairs))), reward(value, list(range(pairs, 2 * pairs)))
    assert chosen.value >= max(sets) - 1e-12
    assert chosen.value == pytest.approx(reward(value, chosen.positive.tolist()), rel=1e-9)
    assert (chosen.swaps == 0) == (chosen.value <= max(sets) + 1e-12)


@thorough
@given(seeds, few_pairs)
def test_no_single_swap_improves_a_finished_paired_selection(seed: int, pairs: int) -> None:
    value = nearness(seed, 2 * pairs)
    chosen = select_positive(pairs, value, max_passes=100)
    assert torch.equal(chosen.positive % pairs, torch.arange(pairs))
    assert torch.equal(chosen.negative, (chosen.positive + pairs) % (2 * pairs))
    for index in range(pairs):
        swapped = chosen.positive.clone()
        swapped[index] = chosen.negative[index]
        assert reward(value, swapped.tolist()) <= chosen.value + 1e-8 * abs(chosen.value)


@thorough
@given(seeds, st.integers(1, 40))
def test_paired_selection_is_the_best_where_clips_count_independently(seed: int, pairs: int) -> None:
    worth = torch.rand(2 * pairs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chosen, best = select_positive(pairs, lambda rows: worth[rows].mean(1)), select_pairs(*worth.chunk(2))
    assert chosen.value == pytest.approx(best.value, rel=1e-12)
    assert torch.equal(chosen.positive, best.positive)


@thorough
@given(seeds, few_pairs)
def test_unpaired_selection_reaches_the_best_where_clips_count_independently(seed: int, pairs: int) -> None:
    worth = torch.rand(2 * pairs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chosen = select_positive(pairs, lambda rows: worth[rows].mean(1), paired=False, max_passes=100)
    assert set(chosen.positive.tolist()) == set(select_unpaired(worth).positive.tolist())


def all_sets(pairs: int) -> Tensor:
    """Every choice of one clip of each pair, (2^n, n): set A first, set B last."""
    return torch.tensor([*product(*((i, i + pairs) for i in range(pairs)))])


def nearness_in_eight_dimensions(seed: int, pairs: int) -> tuple[Value, Tensor]:
    """A reward, and the rewards of all sets by the sums of their clips and the formula."""
    clips, reference = torch.stack(songs(seed, [6] * 2 * pairs, 8)), Gaussian.fit(embeddings(seed + 999, 80, 8))
    sets, frames = all_sets(pairs), 6 * pairs
    mean = clips.sum(1)[sets].sum(1) / frames
    squares = (clips.mT @ clips)[sets].sum(1)
    covariance = (squares - frames * mean.unsqueeze(2) * mean.unsqueeze(1)) / (frames - 1)
    roots = torch.linalg.eigvalsh(reference.sqrt @ covariance @ reference.sqrt).clamp(min=0).sqrt().sum(1)
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1) + reference.covariance.trace()
    distances = (mean - reference.mean).square().sum(1) + traces - 2 * roots
    return negated(dataset_fad_subsets(list(clips), reference)), -distances


def diversity_in_eight_dimensions(seed: int, pairs: int) -> tuple[Value, Tensor]:
    """A reward, and the rewards of all sets by the kernels of their clips."""
    clips = torch.randn(2 * pairs, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    units = torch.nn.functional.normalize(clips)[all_sets(pairs)]
    shares = (torch.linalg.eigvalsh(units @ units.mT) / pairs).clamp(min=1e-300)
    return vendi_subsets(clips), (-shares * shares.log()).sum(1).exp()


IN_EIGHT_DIMENSIONS = {"nearness": nearness_in_eight_dimensions, "diversity": diversity_in_eight_dimensions}


def worst_gain(named: str, pairs: int, count: int) -> float:
    """The least of so many selections, as a share of what the best of all sets gains over the better of A and B."""
    gains = []
    for seed in range(count):
        value, rewards = IN_EIGHT_DIMENSIONS[named](1000 * seed, pairs)
        start, best = float(rewards[[0, -1]].max()), float(rewards.max())
        chosen = select_positive(pairs, value, generator=torch.Generator().manual_seed(seed))
        assert chosen.value <= best + 1e-9 * abs(best)
        gains.append((chosen.value - start) / (best - start) if best - start > 1e-9 * abs(best) else 1.0)
    return min(gains)


@pytest.mark.parametrize("named", IN_EIGHT_DIMENSIONS)
@pytest.mark.parametrize(("pairs", "count"), [(5, 20), (8, 20), (12, 5)])
def test_paired_selection_of_few_pairs_is_near_the_best_of_all_sets(pairs: int, count: int, named: str) -> None:
    assert worst_gain(named, pairs, count) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("named", IN_EIGHT_DIMENSIONS)
@pytest.mark.parametrize("pairs", [8, 10, 12])
def test_the_worst_of_200_selections_has_nine_tenths_of_what_there_is_to_gain(pairs: int, named: str) -> None:
    assert worst_gain(named, pairs, 200) >= 0.9


def test_of_equally_good_sets_the_one_that_exchanges_the_first_pairs_is_chosen() -> None:
    """Whatever rounding makes of their values: two clips of A are best, and any two of the five are as good."""
    rounding = torch.Generator().manual_seed(0)

    def value(rows: Tensor) -> Tensor:
        noise = 1e-12 * torch.randn(len(rows), generator=rounding, dtype=torch.float64)
        return 10 - ((rows < 5).sum(1) - 2).abs() + noise

    assert [select_positive(5, value).positive.tolist() for _ in range(5)] == [[0, 1, 7, 8, 9]] * 5


def test_paired_selection_finds_the_best_of_all_sets_of_a_planted_case() -> None:
    good, bad = songs(3, [30] * 4, 3), [song + 2 for song in songs(13, [30] * 4, 3)]
    clips = [good[0], bad[0], good[1], bad[1], bad[2], good[2], bad[3], good[3]]
    distance = dataset_fad_subsets(clips, Gaussian.fit(torch.cat(good)))
    chosen = select_positive(4, lambda rows: -distance(rows))
    best = max(product(*((i, i + 4) for i in range(4))), key=lambda members: -float(distance(torch.tensor([members]))))
    assert chosen.positive.tolist() == list(best) == [0, 5, 2, 7]


def test_unpaired_selection_reaches_sets_that_pairs_cannot() -> None:
    clips = torch.eye(3)[[0, 0, 0, 1, 1, 2]]  # three of a kind on one side
    chosen = select_positive(3, vendi_subsets(clips), paired=False, max_passes=20)
    best = max(float(vendi_subsets(clips)(torch.tensor([members]))) for members in combinations(range(6), 3))
    assert chosen.value == pytest.approx(best, rel=1e-12)


def test_a_pool_counts_beside_every_candidate() -> None:
    clips, reference = songs(0, [5] * 12, 3), Gaussian.fit(embeddings(99, 30, 3))
    distance, pool = dataset_fad_subsets(clips, reference), torch.arange(8, 12)
    chosen = select_positive(4, lambda rows: -distance(rows), pool=pool)
    assert_split(chosen, 4)
    assert chosen.value == pytest.approx(reward(lambda rows: -distance(rows), chosen.positive.tolist(), pool), rel=1e-9)


@pytest.mark.parametrize("paired", [True, False])
def test_a_seed_fixes_the_selection(paired: bool) -> None:
    first, second = (
        select_positive(20, nearness(4, 40), paired=paired, generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    )
    assert torch.equal(first.positive, second.positive)
    assert (first.value, first.swaps) == (second.value, second.swaps)


def test_equal_sets_are_left_alone() -> None:
    songs_of_a = songs(0, [6] * 5, 3)
    distance = dataset_fad_subsets(songs_of_a * 2, Gaussian.fit(embeddings(9, 30, 3)))
    chosen = select_positive(5, lambda rows: -distance(rows))
    assert (chosen.positive.tolist(), chosen.swaps) == ([0, 1, 2, 3, 4], 0)


def test_without_passes_the_better_set_is_chosen() -> None:
    worth = torch.tensor([1.0, 2.0, 3.0, 1.0])
    chosen = select_positive(2, lambda rows: worth[rows].sum(1), paired=False, max_passes=0)
    assert (chosen.positive.tolist(), chosen.negative.tolist(), chosen.value) == ([2, 3], [0, 1], 4.0)


def test_the_reward_is_valued_in_batches() -> None:
    worth, calls = torch.rand(64, generator=torch.Generator().manual_seed(0)), []

    def value(rows: Tensor) -> Tensor:
        calls.append(len(rows))
        return worth[rows].sum(1)

    select_positive(32, value)
    assert max(calls) <= 8
    assert len(calls) <= 25  # two passes of four blocks: valued apart, together and once more; and the two sets


def test_the_winner_of_each_pair_is_positive() -> None:
    chosen = select_pairs(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([2.0, 4.0, 3.0]))
    assert chosen.positive.tolist() == [3, 1, 2]
    assert chosen.negative.tolist() == [0, 4, 5]
    assert chosen.value == pytest.approx(10 / 3)
    assert chosen.swaps == 1


def test_the_better_half_of_all_clips_is_positive() -> None:
    chosen = select_unpaired(torch.tensor([1.0, 5.0, 3.0, 3.0, 9.0, 0.0]))
    assert chosen.positive.tolist() == [4, 1, 2]
    assert chosen.negative.tolist() == [3, 0, 5]
    assert chosen.value == pytest.approx(17 / 3)
    assert chosen.swaps == 1


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (torch.ones(3), r"not the shape \(3,\)"),
        (torch.ones(0), r"not the shape \(0,\)"),
        (torch.ones(2, 2), r"not the shape \(2, 2\)"),
        (torch.tensor([1.0, 2.0, torch.nan, 0.0]), "clip 2 has the reward NaN"),
    ],
)
def test_values_that_cannot_be_ranked_are_refused(values: Tensor, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        select_unpaired(values)


def test_sets_of_unequal_size_are_not_paired() -> None:
    with pytest.raises(DragonError, match=r"not \(2,\) and \(3,\)"):
        select_pairs(torch.ones(2), torch.ones(3))
    with pytest.raises(DragonError, match="clip 1 has the reward NaN"):
        select_pairs(torch.ones(1), torch.tensor([torch.nan]))


@pytest.mark.parametrize(
    ("pairs", "value", "cause"),
    [
        (0, lambda rows: rows.sum(1), "at least one pair"),
        (2, lambda rows: rows.sum(), r"of 2 subsets returned the shape \(\)"),
        (2, lambda rows: rows.sum(1) * torch.nan, "NaN"),
    ],
)
def test_rewards_that_cannot_guide_a_selection_are_refused(pairs: int, value: Value, cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        select_positive(pairs, value)
