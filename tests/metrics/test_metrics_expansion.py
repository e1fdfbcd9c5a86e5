"""Second-order expansions of set rewards, and the leap of `select_positive` that they guide."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import embeddings, seeds, songs, thorough
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian, dataset_fad_subsets, exchange_losses, select_positive
from dragon_rewards.metrics.selection import Expansion

REFERENCE = 999  # its seed, away from those of the songs


@dataclass
class Nearness:
    """Minus the dataset FAD of subsets of songs; counts what it values."""

    clips: list[Tensor]
    valued: int = 0

    def __post_init__(self) -> None:
        dim = self.clips[0].shape[1]
        self.distance = dataset_fad_subsets(self.clips, Gaussian.fit(embeddings(REFERENCE, 3 * dim, dim)))

    def __call__(self, rows: Tensor) -> Tensor:
        self.valued += len(rows)
        return -self.distance(rows)

    def expansion(self, clips: Tensor, weights: Tensor, moves: Tensor) -> Expansion:
        expansion: Expansion = self.distance.expansion(clips, weights, moves)  # type: ignore[attr-defined]
        return -expansion


def valued_only(value: Nearness) -> Nearness:
    """The same reward without its expansion."""
    plain = Nearness(value.clips)
    plain.expansion = None  # type: ignore[method-assign, assignment]
    return plain


def distance_of_weights(clips: list[Tensor], weights: Tensor, reference: Gaussian) -> Tensor:
    """FAD of the mixture in which each clip counts `weights` times, written down for whole and broken weights."""
    frames = torch.cat(clips)
    each = weights.repeat_interleave(torch.tensor([len(clip) for clip in clips]))
    mean = each @ frames / each.sum()
    covariance = (frames - mean).T @ ((frames - mean) * each[:, None]) / (each.sum() - 1)
    product_ = reference.sqrt @ covariance @ reference.sqrt
    cross: Tensor = torch.linalg.eigvalsh(product_).clamp(min=0).sqrt().sum()
    shift = (mean - reference.mean).square().sum()
    return shift + covariance.trace() + reference.covariance.trace() - 2 * cross


@thorough
@given(seeds, st.integers(1, 6))
def test_the_expansion_has_the_derivatives_of_the_distance(seed: int, dim: int) -> None:
    clips, reference = songs(seed, [8] * 6, dim), Gaussian.fit(embeddings(seed + 99, 30, dim))
    weights, moves = torch.full((6,), 0.5, dtype=torch.float64), torch.eye(6)[3:] - torch.eye(6)[:3]
    found = dataset_fad_subsets(clips, reference).expansion(torch.arange(6), weights, moves)  # type: ignore[attr-defined]

    def of_moves(z: Tensor) -> Tensor:
        return distance_of_weights(clips, weights + z @ moves.double(), reference)

    zero = torch.zeros(3, dtype=torch.float64)
    slope = torch.autograd.functional.jacobian(of_moves, zero)
    step = 1e-4
    points = [step * torch.tensor(signs, dtype=torch.float64) for signs in product((-1, 0, 1), repeat=3)]
    scale = float(slope.abs().sum() + found.curvature.abs().sum())
    assert torch.allclose(found.slope, slope, atol=1e-5 * scale)
    for z in points:
        bend = (of_moves(z) + of_moves(-z) - 2 * of_moves(zero)) / 2
        assert abs(bend - z @ found.curvature @ z) <= 1e-2 * step**2 * scale + 1e-12 * scale


@pytest.mark.parametrize("lengths", [[5, 5, 5, 5], [3, 9, 6, 4]])
def test_moves_that_add_frames_have_the_slope_of_the_distance(lengths: list[int]) -> None:
    clips, reference = songs(3, lengths, 3), Gaussian.fit(embeddings(5, 30, 3))
    weights = torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64)
    found = dataset_fad_subsets(clips, reference).expansion(torch.arange(4), weights, torch.eye(4))  # type: ignore[attr-defined]
    slope = torch.autograd.functional.jacobian(lambda w: distance_of_weights(clips, w, reference), weights)
    assert torch.allclose(found.slope, slope, rtol=1e-5, atol=1e-5)


def test_strips_of_the_curvature_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    value, arguments = Nearness(songs(1, [6] * 4, 7)), (torch.arange(4), torch.full((4,), 0.5), torch.eye(4))
    whole = value.expansion(*arguments)
    monkeypatch.setattr("dragon_rewards.metrics.cross.STRIP", 3)
    assert torch.allclose(value.expansion(*arguments).curvature, whole.curvature, rtol=1e-4, atol=1e-6)


@thorough
@given(seeds, st.integers(1, 8))
def test_changes_of_an_expansion_add_up_from_flips(seed: int, moves: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    slope, factor = torch.randn(moves, generator=generator), torch.randn(moves, moves, generator=generator)
    expansion = Expansion(slope.double(), (factor + factor.T).double())
    signs = torch.where(torch.rand(moves, generator=generator) < 0.5, 0.5, -0.5).double()
    flipped = torch.where(torch.eye(moves, dtype=torch.bool), -signs, signs)
    rises = expansion.changes(flipped) - expansion.changes(signs[None])
    torch.testing.assert_close(rises, expansion.rises(signs).diagonal())


@thorough
@given(seeds, st.integers(6, 9))
def test_few_pairs_without_an_expansion_are_ranked_by_a_quadratic_that_is_fitted(seed: int, pairs: int) -> None:
    """A reward that is one is found exactly: its best of all sets is chosen before any pass."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(2 * pairs, 2 * pairs, generator=generator, dtype=torch.float64)

    def value(rows: Tensor) -> Tensor:
        member = torch.zeros(len(rows), 2 * pairs, dtype=torch.float64).scatter(1, rows, 1.0)
        return (member @ factor * member).sum(1)

    best = value(torch.tensor([*product(*((i, i + pairs) for i in range(pairs)))])).max()
    assert select_positive(pairs, value, max_passes=0).value == pytest.approx(float(best), rel=1e-9)


@thorough
@given(seeds, st.integers(2, 8), st.booleans())
def test_a_climb_ends_where_no_one_or_two_flips_raise_the_expansion(seed: int, moves: int, balanced: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    slope, factor = torch.randn(moves, generator=generator), torch.randn(moves, moves, generator=generator)
    expansion = Expansion(slope.double(), (factor + factor.T).double())
    start = torch.where(torch.arange(moves) < moves // 2, 0.5, -0.5).double()
    end = expansion.climb(start, balanced=balanced)

    def value(z: Tensor) -> float:
        return float(expansion.slope @ z + z @ expansion.curvature @ z)

    assert value(end) >= value(start)
    assert not balanced or end.sum() == start.sum()
    for i, j in product(range(moves), repeat=2):
        if not balanced or end[i] != end[j]:
            other = end.clone()
            other[list({i, j})] *= -1
            assert value(other) <= value(end) + 1e-6


@thorough
@given(seeds, st.integers(1, 6), st.integers(1, 12), st.integers(1, 6), st.booleans())
def test_a_leap_never_falls_below_either_set(seed: int, pairs: int, dim: int, frames: int, paired: bool) -> None:
    value = Nearness(songs(seed, [frames + 1] * 2 * pairs, dim))  # often fewer frames than dimensions
    chosen = select_positive(pairs, value, paired=paired)
    sets = value(torch.arange(2 * pairs).view(2, -1))
    assert chosen.value >= float(sets.max()) - 1e-12
    assert chosen.value == pytest.approx(float(value(chosen.positive.unsqueeze(0))), rel=1e-9, abs=1e-9)
    assert sorted([*chosen.positive.tolist(), *chosen.negative.tolist()]) == list(range(2 * pairs))
    if paired:
        assert torch.equal(chosen.positive % pairs, chosen.negative % pairs)


@thorough
@given(seeds, st.integers(1, 6), st.integers(1, 12))
def test_no_single_swap_improves_a_finished_selection_after_a_leap(seed: int, pairs: int, dim: int) -> None:
    value = Nearness(songs(seed, [4] * 2 * pairs, dim))
    chosen = select_positive(pairs, value, max_passes=100)
    swapped = torch.where(torch.eye(pairs, dtype=torch.bool), chosen.negative[:, None], chosen.positive)
    assert (value(swapped) <= chosen.value + 1e-8 * abs(chosen.value)).all()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("frames", [2, 20])
def test_a_leap_chooses_no_worse_than_a_pass_and_values_less(paired: bool, frames: int) -> None:
    leaps, passes = 0.0, 0.0
    for seed in range(0, 1000, 100):
        value = Nearness(songs(seed, [frames] * 48, 12))
        plain = valued_only(value)
        leaps += select_positive(24, value, paired=paired).value
        passes += select_positive(24, plain, paired=paired, max_passes=1).value
        assert value.valued * 5 < plain.valued
    assert leaps >= passes


def test_the_pool_is_part_of_what_is_expanded() -> None:
    clips, pool = songs(0, [9] * 30, 4), torch.arange(20, 30)
    behind, alone = (select_positive(10, Nearness(clips), pool=rows) for rows in (pool, None))
    value = Nearness(clips)
    assert behind.value == pytest.approx(float(value(torch.cat([behind.positive, pool])[None])), rel=1e-9)
    assert behind.value >= float(value(torch.cat([alone.positive, pool])[None])) - 1e-12


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("pairs", [12, 13])
def test_a_leap_is_the_same_every_time(pairs: int, paired: bool) -> None:
    first, second = (select_positive(pairs, Nearness(songs(0, [6] * 2 * pairs, 5)), paired=paired) for _ in range(2))
    assert torch.equal(first.positive, second.positive)
    assert first.value == second.value


def test_an_expansion_of_what_is_no_clip_or_too_short_is_refused() -> None:
    value = Nearness(songs(0, [1, 1], 3))
    with pytest.raises(DragonError, match="indices 0 to 2, and there are 2 clips"):
        value.expansion(torch.tensor([0, 2]), torch.ones(2), torch.eye(2))
    with pytest.raises(DragonError, match="at least 2 frames in all, not 1"):
        value.expansion(torch.arange(2), torch.full((2,), 0.5), torch.eye(2))


@thorough
@given(seed=seeds, pairs=st.integers(4, 10))
def test_losses_of_exchanges_beside_a_pool_are_those_of_valuing_each(seed: int, pairs: int) -> None:
    """Within 3% of the largest; alone, where an exchange changes much, they are valued: the same."""
    value = Nearness(songs(seed, [6] * 6 * pairs, 5))
    for pool, tolerance in ((torch.arange(6 * pairs), 0.03), (None, 0.0)):
        chosen = select_positive(pairs, value, pool=pool)
        exact = exchange_losses(chosen, valued_only(value), pool=pool)
        found = exchange_losses(chosen, value, pool=pool)
        torch.testing.assert_close(found, exact, rtol=0, atol=tolerance * float(exact.abs().max()))
