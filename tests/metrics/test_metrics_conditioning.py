"""Distances of ill-conditioned covariances, where frames outnumber dimensions: against 40 digits and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import embeddings, frechet_of_40_digits, rotation, seeds, thorough, traces

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import (
    Gaussian,
    clip_contributions,
    dataset_fad,
    dataset_fad_subsets,
    fad_infinity,
    frechet_distance,
    frechet_loss,
    per_song_fad,
)
from dragon_rewards.metrics.cross import roots_are_sure, trace_and_cross
from dragon_rewards.metrics.gaussian import ROUNDING
from dragon_rewards.metrics.linalg import congruent_eigenvalues, scatter

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

conditions = st.floats(0, 16)  # decimal logarithms of a covariance's condition number


def conditioned(seed: int, count: int, deviations: Tensor, turn: Tensor | None) -> Tensor:
    """Frames (count, d) of these standard deviations along the axes, or along those of a rotation."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(count, len(deviations), generator=generator, dtype=torch.float64) * deviations
    return frames if turn is None else frames @ turn


def deviations_of(seed: int, dim: int, condition: float) -> Tensor:
    """Standard deviations of a covariance of this condition: falling evenly or at random, or one larger or smaller."""
    deviations = torch.logspace(0, -condition / 2, dim, dtype=torch.float64)
    if seed % 4 == 1:
        exponents = torch.rand(dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        deviations = 10 ** (-condition / 2 * exponents)
    if seed % 4 > 1:
        deviations = torch.full_like(deviations, 10 ** (-condition / 2 if seed % 4 == 2 else 0))
        deviations[0 if seed % 4 == 2 else -1] = 10 ** (0 if seed % 4 == 2 else -condition / 2)
    return deviations


def two_sets(seed: int, dim: int, condition: float) -> tuple[Tensor, Tensor]:
    """Frames to judge and frames of a reference, of spectra alike; along one set of axes, two, or none."""
    deviations = deviations_of(seed, dim, condition)
    turn = rotation(seed, dim) if seed % 3 else None
    other = rotation(seed + 1, dim) if seed % 3 == 1 else turn
    return conditioned(seed, dim + 9, deviations, turn), conditioned(seed + 7, dim + 6, deviations, other)


def magnitude(x: Tensor, y: Tensor) -> float:
    """|difference of means|^2 + tr S + tr S_r, of which a distance is made."""
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    return float((a.mean - b.mean).square().sum()) + traces(a, b)


def ways(x: Tensor, reference: Gaussian) -> Tensor:
    """The distance of the same frames by every way that has the frames: (3,)."""
    whole = dataset_fad([x[:3], x[3:]], reference)
    return torch.stack([frechet_distance(Gaussian.fit(x), reference), whole, per_song_fad([x], reference)[0]])


@pytest.mark.parametrize("turned", [False, True])
def test_400_frames_of_24_dimensions_have_9_digits_whatever_their_condition(turned: bool) -> None:
    """Of the roots of eigenvalues alone the worst of these cases had 6: small eigenvalues were dropped or noise."""
    turn = rotation(3, 24) if turned else None
    deviations = torch.logspace(0, -7, 24, dtype=torch.float64)
    x, y = conditioned(1, 400, deviations, turn), conditioned(2, 380, deviations, turn)
    exact = frechet_of_40_digits(x, y)
    assert float((ways(x, Gaussian.fit(y)) / exact - 1).abs().max()) <= 1e-9


@thorough
@given(seeds, st.integers(2, 7), conditions)
def test_every_way_has_10_digits_of_what_a_distance_is_made_of(seed: int, dim: int, condition: float) -> None:
    x, y = two_sets(seed, dim, condition)
    error = float((ways(x, Gaussian.fit(y)) - frechet_of_40_digits(x, y)).abs().max())
    assert error <= 1e-10 * magnitude(x, y)


@thorough
@given(seeds, st.integers(2, 7), conditions)
def test_of_a_covariance_alone_a_distance_has_what_its_rounding_leaves(seed: int, dim: int, condition: float) -> None:
    x, y = two_sets(seed, dim, condition)
    tensors = Gaussian.fit(y).to_tensors()
    tensors.pop("factor", None)
    stored = Gaussian.from_tensors(tensors)
    error = float((ways(x, stored) - frechet_of_40_digits(x, y)).abs().max())
    spectral = torch.linalg.matrix_norm(stored.covariance, 2)
    lost = 0.0 if stored.is_well_conditioned else 2 * (traces(Gaussian.fit(x)) * dim * ROUNDING * spectral) ** 0.5
    assert error <= 1e-10 * magnitude(x, y) + lost


@thorough
@given(seeds, st.integers(2, 7), conditions)
def test_subsets_have_10_digits_of_what_distances_are_made_of(seed: int, dim: int, condition: float) -> None:
    x, y = two_sets(seed, dim, condition)
    found = dataset_fad_subsets([x[:3], x[3:]], Gaussian.fit(y))(torch.tensor([[0, 1], [1, 1], [0, 0]]))
    sets = x, torch.cat([x[3:], x[3:]]), torch.cat([x[:3], x[:3]])
    for value, frames in zip(found.tolist(), sets, strict=True):
        assert abs(value - frechet_of_40_digits(frames, y)) <= 1e-10 * magnitude(frames, y)


def test_subsets_of_fewer_frames_than_dimensions_and_of_a_reference_of_few_have_10_digits() -> None:
    x, y = two_sets(3, 6, 12.0)
    for reference in (y, y[:4]):
        found = dataset_fad_subsets([x[:2], x[2:4], x[4:]], Gaussian.fit(reference))(torch.tensor([[0, 1], [1, 0]]))
        expected = frechet_of_40_digits(x[:4], reference)
        assert (found - expected).abs().max() <= 1e-10 * magnitude(x[:4], reference)


def test_subsets_of_the_case_that_lost_six_digits() -> None:
    deviations = torch.logspace(0, -7, 24, dtype=torch.float64)
    x, y = (conditioned(seed, count, deviations, rotation(3, 24)) for seed, count in ((1, 400), (2, 380)))
    value = dataset_fad_subsets([x[:100], x[100:]], Gaussian.fit(y))(torch.tensor([[0, 1]]))
    expected = frechet_of_40_digits(x, y)
    assert abs(float(value) - expected) <= 1e-9 * expected


def test_subsets_of_ordinary_frames_need_no_singular_values(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [torch.randn(32, 64, generator=generator) for _ in range(12)]
    few = Gaussian.fit(torch.randn(40, 64, generator=generator))
    monkeypatch.setattr("dragon_rewards.metrics.subsets.nuclear_norm", None)
    for reference in (Gaussian.fit(torch.cat(clips)), few):
        assert dataset_fad_subsets(clips, reference)(torch.tensor([[0, 1], [2, 3]])).isfinite().all()
    assert dataset_fad_subsets(clips, few)(torch.tensor([[0]])).isfinite().all()


@pytest.mark.parametrize("seed", range(8))
def test_contributions_have_10_digits_of_what_distances_are_made_of(seed: int) -> None:
    x, y = two_sets(seed, 4, 14.0)
    clips = [x[:4], x[4:7], x[7:]]
    found, scale = clip_contributions(clips, Gaussian.fit(y)), magnitude(x, y)
    assert abs(float(found.value) - frechet_of_40_digits(x, y)) <= 1e-10 * scale
    for index, contribution in enumerate(found.leave_one_out.tolist()):
        rest = torch.cat([clip for other, clip in enumerate(clips) if other != index])
        expected = frechet_of_40_digits(x, y) - frechet_of_40_digits(rest, y)
        assert abs(contribution - expected) <= 1e-10 * (scale + magnitude(rest, y))


def test_marginals_of_ill_conditioned_clips_are_differences_of_weights() -> None:
    """The slope of the FAD in a clip's weight, by repeating every other clip's frames a thousand times."""
    x, y = two_sets(2, 4, 9.0)
    clips, reference, often = [x[:4], x[4:7], x[7:]], Gaussian.fit(y), 1000
    found = clip_contributions(clips * often, reference)
    for index in range(3):
        heavier = dataset_fad([*clips * often, clips[index]], reference) - found.value
        slope = float(found.marginal[index])
        assert float(heavier) == pytest.approx(slope, rel=2e-3, abs=1e-9 * magnitude(x, y))


def test_infinity_has_10_digits_and_the_loss_what_gram_matrices_leave() -> None:
    y = two_sets(0, 3, 15.0)[1]
    frames, reference = conditioned(5, 60, deviations_of(0, 3, 15.0), None), Gaussian.fit(y)
    clips, scale = list(frames.split(5)), magnitude(frames, y)
    found = fad_infinity(clips, reference)
    assert abs(found.value + found.slope / len(clips) - frechet_of_40_digits(frames, y)) <= 1e-9 * scale
    loss = frechet_loss(clips[:6], Gaussian.fit(torch.cat(clips[6:])), reference)
    assert abs(float(loss) - frechet_of_40_digits(frames, y)) <= 8e-8 * 3 * scale


def test_a_factor_is_kept_where_the_covariance_has_lost_it_and_only_there() -> None:
    flat, steep = embeddings(1, 40, 5), conditioned(1, 40, torch.logspace(0, -8, 5, dtype=torch.float64), None)
    assert set(Gaussian.fit(flat).to_tensors()) == {"mean", "covariance", "count"}
    fitted = Gaussian.fit(steep)
    copy = Gaussian.from_tensors(fitted.to_tensors())
    assert torch.equal(copy.factor, fitted.factor)
    assert torch.allclose(copy.factor @ copy.factor.T, copy.covariance, rtol=1e-12, atol=0)
    merged = fitted.merge(Gaussian.fit(flat))
    assert merged.triangle is None
    assert merged.without(fitted).triangle is None
    assert Gaussian.of_moments(fitted.moments).triangle is None


def test_a_factor_of_another_covariance_is_refused() -> None:
    fitted = Gaussian.fit(conditioned(1, 40, torch.logspace(0, -8, 5, dtype=torch.float64), None))
    tensors = fitted.to_tensors()
    with pytest.raises(DragonError, match="does not give its covariance"):
        Gaussian.from_tensors({**tensors, "factor": 2 * tensors["factor"]})
    with pytest.raises(DragonError, match=r"factor is \(5, 5\) in float64"):
        Gaussian.from_tensors({**tensors, "factor": tensors["factor"].float()})


def refused(*_: object) -> Tensor:
    raise AssertionError("the long way was taken")


@pytest.mark.parametrize("dim", [3, 64])
def test_well_conditioned_distances_cost_no_singular_values(dim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, reference = embeddings(1, 4 * dim, dim), Gaussian.fit(embeddings(2, 5 * dim, dim))
    monkeypatch.setattr("dragon_rewards.metrics.cross.nuclear_norm", refused)
    monkeypatch.setattr("dragon_rewards.metrics.frechet.nuclear_norm", refused)
    monkeypatch.setattr("dragon_rewards.metrics.contributions._one_by_one", refused)
    assert ways(x, reference).isfinite().all()
    assert clip_contributions(x.split(dim), reference).leave_one_out.isfinite().all()


@pytest.mark.parametrize("broken", ["noise", "singular", "spread"])
def test_roots_that_lose_digits_are_not_sure(broken: str) -> None:
    squares, factor = scatter(embeddings(1, 40, 5)), Gaussian.fit(embeddings(2, 40, 5)).factor
    values = congruent_eigenvalues(squares, factor)
    assert roots_are_sure(values, squares, factor)
    if broken == "noise":
        values = values + 1e-11 * values.max() * torch.tensor([1.0, 0, 0, 0, 0])
    if broken == "singular":
        squares = torch.outer(squares[0], squares[0])
    if broken == "spread":
        squares = squares * torch.outer(*[torch.logspace(0, -6, 5, dtype=torch.float64)] * 2)
        values = congruent_eigenvalues(squares, factor)
    assert not roots_are_sure(values, squares, factor)


def test_sure_roots_are_those_of_singular_values_and_most_of_good_condition_are_sure() -> None:
    worst, sure = 0.0, []
    for seed in range(600):
        dim, condition = 2 + seed % 23, 16 * (seed % 97) / 97
        x, y = two_sets(seed, dim, condition)
        centred, factor = x - x.mean(0), Gaussian.fit(y).factor
        squares = scatter(centred)
        values = congruent_eigenvalues(squares, factor)
        if roots_are_sure(values, squares, factor):
            lost = abs(float(values.sqrt().sum() - torch.linalg.svdvals(centred @ factor).sum()))
            worst = max(worst, lost / float(centred.norm() * factor.norm()))
        sure += [bool(roots_are_sure(values, squares, factor))] if condition < 4 else []
    assert worst <= 2e-11
    assert sum(sure) >= 0.9 * len(sure)


def test_frames_whose_squares_all_but_vanish_have_a_gaussian() -> None:
    frames = 1e-160 * embeddings(1, 5, 8)
    assert torch.allclose(Gaussian.fit(frames).factor / 1e-160, Gaussian.fit(frames / 1e-160).factor, rtol=1e-12)


@pytest.mark.parametrize("condition", [2.0, 10.0])
def test_gradients_are_those_of_singular_values(condition: float) -> None:
    """Sure or not: one clip of two takes the long way, and its slope is found with the other's."""
    deviations = deviations_of(0, 4, condition)
    steep, flat = conditioned(1, 12, deviations, rotation(1, 4)), embeddings(3, 12, 4)
    reference = Gaussian.fit(conditioned(2, 30, deviations, rotation(1, 4)))
    stack = torch.stack([steep, flat]).requires_grad_()
    (found,) = torch.autograd.grad(per_song_fad(list(stack), reference).sum(), stack)
    _, cross = trace_and_cross(stack - stack.mean(1, keepdim=True), reference.factor)
    centred = stack - stack.mean(1, keepdim=True)
    plain = torch.linalg.svdvals(centred @ reference.factor).sum(1)
    assert torch.allclose(cross, plain, rtol=1e-9, atol=0)
    shift = (stack.mean(1) - reference.mean).square().sum(1)
    trace = centred.square().sum((1, 2)) / 11 + reference.covariance.trace()
    (expected,) = torch.autograd.grad((shift + trace - 2 * plain / 11**0.5).sum(), stack)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("fad", [per_song_fad, dataset_fad])
def test_gradients_without_variance_are_finite(fad: Callable[..., Tensor]) -> None:
    clip = (embeddings(1, 20, 6) * torch.tensor([1.0, 1, 1, 0, 0, 0])).requires_grad_()
    (slope,) = torch.autograd.grad(fad([clip], Gaussian.fit(embeddings(2, 30, 6))).sum(), clip)
    assert slope.isfinite().all()
