"""What holds for every metric: what it refuses, what it makes of coarse and ragged clips, and what it leaves alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import astuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import dims, embeddings, rotation, seeds, songs, thorough, traces
from torch import Tensor

from dragon_rewards import metrics
from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import (
    Facets,
    Gaussian,
    clap_score,
    clip_contributions,
    coverage,
    coverage_subsets,
    dataset_fad,
    dataset_fad_subsets,
    density,
    density_subsets,
    facet_coverage,
    facet_coverage_subsets,
    fad_infinity,
    fad_infinity_subsets,
    frechet_distance,
    frechet_loss,
    kernel_audio_distance,
    kernel_audio_distance_subsets,
    maximum_mean_discrepancy,
    maximum_mean_discrepancy_subsets,
    median_bandwidth,
    per_song_fad,
    prdc,
    precision,
    precision_subsets,
    recall,
    recall_subsets,
    update_population,
    vendi_matched,
    vendi_score,
    vendi_subsets,
)

Clips = Sequence[Tensor]


def subsets(count: int) -> Tensor:
    """All sets but one clip, (count, count - 1)."""
    return torch.arange(count).repeat(count, 1)[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)


def contributions(clips: Clips, reference: Gaussian) -> Tensor:
    found = clip_contributions(clips, reference)
    return torch.cat([found.value.view(1), found.leave_one_out, found.marginal])


def infinity(clips: Clips, reference: Gaussian) -> Tensor:
    found = fad_infinity(clips, reference)
    return torch.tensor([found.value, *found.interval, found.slope], dtype=torch.float64)


def moments(gaussian: Gaussian) -> Tensor:
    return torch.cat([gaussian.mean, gaussian.covariance.flatten()])


def facets(reference: Gaussian) -> Facets:
    """Two, a standard deviation to each side of the mean."""
    side, shares = reference.covariance.diagonal().sqrt(), torch.tensor([0.3, 0.7], dtype=torch.float64)
    return Facets(torch.stack([reference.mean - side, reference.mean + side]), side.square().mean(), shares)


FRECHET: dict[str, Callable[[Clips, Gaussian], Tensor]] = {
    "per_song_fad": per_song_fad,
    "dataset_fad": dataset_fad,
    "dataset_fad_subsets": lambda clips, reference: dataset_fad_subsets(clips, reference)(subsets(len(clips))),
    "fad_infinity": infinity,
    "clip_contributions": contributions,
    "frechet_loss": lambda clips, reference: frechet_loss(clips, reference, reference),
}
OF_CLIPS: dict[str, Callable[[Clips, Gaussian], Tensor]] = FRECHET | {
    "fad_infinity_subsets": lambda clips, reference: fad_infinity_subsets(clips, reference)(subsets(len(clips))),
    "update_population": lambda clips, reference: moments(update_population(reference, clips, memory=10)),
    "clap_score": lambda clips, reference: clap_score(clips, reference.mean.expand(len(clips), -1)),
    "facet_coverage": lambda clips, reference: facet_coverage(clips, facets(reference)),
    "facet_coverage_subsets": lambda clips, reference: facet_coverage_subsets(clips, facets(reference))(
        subsets(len(clips))
    ),
}
OF_PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "frechet_distance": lambda x, y: frechet_distance(Gaussian.fit(x), Gaussian.fit(y)),
    "kernel_audio_distance": kernel_audio_distance,
    "kernel_audio_distance_subsets": lambda x, y: kernel_audio_distance_subsets(x, y, 1.5)(subsets(len(x))),
    "maximum_mean_discrepancy": maximum_mean_discrepancy,
    "maximum_mean_discrepancy_subsets": lambda x, y: maximum_mean_discrepancy_subsets(x, y)(subsets(len(x))),
    "precision_subsets": lambda x, y: precision_subsets(x, y, 2)(subsets(len(x))),
    "recall_subsets": lambda x, y: recall_subsets(x, y, 2)(subsets(len(x))),
    "density_subsets": lambda x, y: density_subsets(x, y, 2)(subsets(len(x))),
    "coverage_subsets": lambda x, y: coverage_subsets(x, y, 2)(subsets(len(x))),
    "vendi_matched": lambda x, y: torch.tensor(astuple(vendi_matched(x, y)), dtype=torch.float64),
    "precision": lambda x, y: torch.tensor(precision(x, y, 2)),
    "recall": lambda x, y: torch.tensor(recall(x, y, 2)),
    "density": lambda x, y: torch.tensor(density(x, y, 2)),
    "coverage": lambda x, y: torch.tensor(coverage(x, y, 2)),
    "prdc": lambda x, y: torch.tensor(astuple(prdc(x, y, 2))),
}
OF_SETS: dict[str, Callable[[Tensor], Tensor]] = {
    "Gaussian": lambda x: moments(Gaussian.fit(x)),
    "median_bandwidth": lambda x: torch.tensor(median_bandwidth(x), dtype=torch.float64),
    "vendi_score": vendi_score,
    "vendi_subsets": lambda x: vendi_subsets(x)(subsets(len(x))),
}


def against_gaussian(metric: Callable[[Clips, Gaussian], Tensor]) -> Callable[[Clips, Tensor], Tensor]:
    return lambda clips, other: metric(clips, Gaussian.fit(other))


def against_frames(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Clips, Tensor], Tensor]:
    return lambda clips, other: metric(torch.cat(list(clips)), other)


def of_frames(metric: Callable[[Tensor], Tensor]) -> Callable[[Clips, Tensor], Tensor]:
    return lambda clips, _: metric(torch.cat(list(clips)))


EVERY: dict[str, Callable[[Clips, Tensor], Tensor]] = (
    {name: against_gaussian(metric) for name, metric in OF_CLIPS.items()}
    | {name: against_frames(metric) for name, metric in OF_PAIRS.items()}
    | {name: of_frames(metric) for name, metric in OF_SETS.items()}
)
RAGGED = [2, 5, 3, 9, 4, 2, 6, 3, 5]


def same_or_moved(name: str, before: Tensor, after: Tensor, order: list[int]) -> bool:
    """Whether values per clip moved with their clips, and values of the whole set stayed."""
    if name in {"per_song_fad", "clap_score"}:
        before = before[order]
    if name == "clip_contributions":
        before = torch.cat([before[:1], *(side[order] for side in before[1:].view(2, -1))])
    return torch.allclose(after, before, rtol=1e-7, atol=1e-8)


def test_no_metric_is_left_out() -> None:
    public = {name: getattr(metrics, name) for name in metrics.__all__}
    functions = {name for name, value in public.items() if inspect.isfunction(value)}
    chosen_by = {name for name in functions if public[name].__module__ == "dragon_rewards.metrics.selection"}
    assert set(EVERY) == functions - chosen_by | {"Gaussian"}


broken = [
    (torch.tensor([[0.0, 1.0], [torch.nan, 0.0], [1.0, 1.0]]), "NaN .* frame 1"),
    (torch.tensor([[0.0, 1.0], [1.0, 0.0], [torch.inf, 1.0]]), "NaN or infinite .* frame 2"),
    (torch.tensor([[0.0, -torch.inf], [1.0, 0.0], [1.0, 1.0]]).half(), "NaN or infinite .* frame 0"),
    (torch.tensor([[0.0, 1.0], [1.0, 1e71], [1.0, 1.0]]).double(), r"beyond 1e\+70, first in frame 1"),
    (torch.zeros(0, 2), r"0 frames"),
    (torch.zeros(3, 0), "0 dimensions, and at least 1"),
    (torch.zeros(3), r"must be a matrix .* not of shape \(3,\)"),
]


@pytest.mark.parametrize("name", OF_CLIPS)
@pytest.mark.parametrize(("clip", "cause"), [*broken, (torch.ones(4, 3), "3 dimensions")])
def test_a_clip_that_cannot_be_judged_is_named(name: str, clip: Tensor, cause: str) -> None:
    clips = [*songs(0, [4] * 8, 2), clip]
    with pytest.raises(DragonError, match=f"^clip 8 .*{cause}"):
        OF_CLIPS[name](clips, Gaussian.fit(embeddings(9, 5, 2)))


@pytest.mark.parametrize("name", OF_PAIRS)
@pytest.mark.parametrize(("frames", "cause"), [*broken, (torch.ones(4, 3), "[23] dimensions.* has [23]")])
def test_sets_that_cannot_be_compared_are_refused(name: str, frames: Tensor, cause: str) -> None:
    good = embeddings(9, 5, 2)
    for pair in ((frames, good), (good, frames)):
        with pytest.raises(DragonError, match=rf"\b(set|reference|Gaussian)\b.* {cause}"):
            OF_PAIRS[name](*pair)


@pytest.mark.parametrize("name", OF_SETS)
@pytest.mark.parametrize(("frames", "cause"), broken)
def test_sets_without_a_value_are_refused(name: str, frames: Tensor, cause: str) -> None:
    with pytest.raises(DragonError, match=rf"\b(set|reference)\b.* {cause}"):
        OF_SETS[name](frames)


of_means = {"clap_score", "facet_coverage", "facet_coverage_subsets", "vendi_score", "vendi_subsets", "vendi_matched"}


@pytest.mark.parametrize(
    "name", sorted(EVERY.keys() - of_means - {"dataset_fad_subsets", "fad_infinity_subsets"})
)  # that refuses its rows
def test_one_frame_has_no_spread(name: str) -> None:
    with pytest.raises(DragonError, match=r"1 frame\b|at least 2 frames in all, not 1|there (is|are) 1$"):
        EVERY[name]([torch.ones(1, 2)], torch.ones(1, 2) if name in OF_PAIRS else embeddings(9, 5, 2))


@pytest.mark.parametrize("name", OF_CLIPS)
def test_no_clips_have_no_value(name: str) -> None:
    with pytest.raises(DragonError, match="no clips"):
        OF_CLIPS[name]([], Gaussian.fit(embeddings(9, 5, 2)))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_indices_of_another_type_are_refused_and_short_ones_serve(dtype: torch.dtype) -> None:
    clips, rows = songs(0, [4, 4], 2), torch.tensor([[0, 1]])
    reference = Gaussian.fit(embeddings(9, 5, 2))
    coverages = facet_coverage_subsets(clips, facets(reference))
    for value in (dataset_fad_subsets(clips, reference), vendi_subsets(torch.cat(clips)), coverages):
        with pytest.raises(DragonError, match="must be rows of clip indices"):
            value(rows.to(dtype))
        assert torch.equal(value(rows.int()), value(rows))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ragged_clips_of_any_dtype_are_those_of_float64_and_stay_as_they_are(name: str, dtype: torch.dtype) -> None:
    clips, other = [clip.to(dtype) for clip in songs(1, RAGGED, 3)], embeddings(99, 30, 3).to(dtype)
    before = [frames.clone() for frames in (*clips, other)]
    found = EVERY[name](clips, other)
    assert all(torch.equal(frames, old) for frames, old in zip((*clips, other), before, strict=True))
    assert torch.equal(found, EVERY[name]([clip.double() for clip in clips], other.double()))


@pytest.mark.parametrize("name", OF_CLIPS)
def test_clips_of_several_dtypes_are_judged_together(name: str) -> None:
    clips, reference = songs(1, RAGGED, 3), Gaussian.fit(embeddings(99, 30, 3))
    mixed = [clips[0].half(), clips[1].bfloat16(), *clips[2:]]
    assert torch.equal(OF_CLIPS[name](mixed, reference), OF_CLIPS[name]([clip.double() for clip in mixed], reference))


@pytest.mark.parametrize("name", EVERY)
def test_clips_that_carry_a_gradient_have_the_same_value(name: str) -> None:
    clips, other = songs(1, RAGGED, 3), embeddings(99, 30, 3)
    found = EVERY[name]([clip.clone().requires_grad_() for clip in clips], other)
    assert torch.allclose(found.detach(), EVERY[name](clips, other), rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no other device")
@pytest.mark.parametrize("name", sorted(FRECHET.keys() - {"frechet_loss"} | {"clap_score", *OF_PAIRS, *OF_SETS}))
def test_clips_on_a_device_are_judged_there_against_a_reference_that_is_not(name: str) -> None:
    clips, other = songs(1, RAGGED, 3), embeddings(99, 30, 3)
    there = [clip.cuda() for clip in clips]
    found = EVERY[name](there, other.cuda() if name == "frechet_distance" else other)
    returns_floats = {"fad_infinity", "median_bandwidth", *OF_PAIRS} - {"frechet_distance", "kernel_audio_distance"}
    assert found.is_cuda == (name not in returns_floats)
    assert torch.allclose(found.cpu(), EVERY[name](clips, other), rtol=1e-7, atol=1e-9)


@thorough
@given(seeds, dims, st.permutations(range(len(RAGGED))))
def test_values_move_with_their_clips(seed: int, dim: int, order: list[int]) -> None:
    clips, reference = songs(seed, RAGGED, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    for name in OF_CLIPS.keys() - {
        "fad_infinity",
        "fad_infinity_subsets",
        "dataset_fad_subsets",
        "facet_coverage_subsets",
    }:  # draw or list by position
        before, after = (OF_CLIPS[name](each, reference) for each in (clips, [clips[index] for index in order]))
        assert same_or_moved(name, before, after, order), name


@thorough
@given(seeds, st.integers(2, 6), st.floats(-4, 4).map(lambda exponent: 10.0**exponent))
def test_rotation_and_translation_change_no_frechet_distance_and_scale_changes_its_square(
    seed: int, dim: int, c: float
) -> None:
    clips, other, turn = songs(seed, RAGGED, dim), embeddings(seed + 99, 30, dim), rotation(seed, dim)
    turned = [c * (clip @ turn + 5) for clip in clips]
    near, far = Gaussian.fit(other), Gaussian.fit(c * (other @ turn + 5))
    scale = 1e-7 * traces(near, Gaussian.fit(torch.cat(clips)))
    for name, metric in FRECHET.items():
        before, after = metric(clips, near), metric(turned, far)
        assert torch.allclose(after / c**2, before, rtol=1e-7, atol=scale), name


@thorough
@given(seeds, dims)
def test_every_way_to_a_distance_is_symmetric_non_negative_and_zero_on_itself(seed: int, dim: int) -> None:
    x, y = songs(seed, RAGGED, dim), songs(seed + 50, RAGGED, dim)
    a, b = (Gaussian.fit(torch.cat(frames)) for frames in (x, y))
    scale = 1e-9 * traces(a, b)
    ways: list[Callable[[Clips, Gaussian], Tensor]] = [
        dataset_fad,
        lambda clips, reference: per_song_fad([torch.cat(list(clips))], reference)[0],
        lambda clips, reference: dataset_fad_subsets(clips, reference)(torch.arange(len(RAGGED)).unsqueeze(0))[0],
        lambda clips, reference: clip_contributions(clips, reference).value,
    ]
    for way in ways:
        there, back, itself = way(x, b), way(y, a), way(x, a)
        assert there >= 0
        assert abs(there - back) <= scale
        assert 0 <= itself <= scale


@pytest.mark.parametrize("dim", [2, 512])
def test_two_frames_have_the_distance_of_their_difference_in_any_dimension(dim: int) -> None:
    """Covariances a a^T / 2 and b b^T / 2 for differences a and b: the cross term is |a . b| / 2."""
    x, y = (torch.randn(2, dim, generator=torch.Generator().manual_seed(seed)).double() for seed in (1, 2))
    a, b, reference = x[1] - x[0], y[1] - y[0], Gaussian.fit(y)
    closed = (x.mean(0) - y.mean(0)).square().sum() + a @ a / 2 + b @ b / 2 - (a @ b).abs()
    whole = torch.tensor([[0, 1]])
    found = [
        per_song_fad([x], reference)[0],
        dataset_fad([x[:1], x[1:]], reference),
        dataset_fad_subsets([x[:1], x[1:]], reference)(whole)[0],
    ]
    assert torch.allclose(torch.stack(found), closed, rtol=1e-13, atol=0)  # measured 3e-16
    assert torch.isclose(frechet_distance(Gaussian.fit(x), reference), closed, rtol=1e-7, atol=0)  # measured 8e-9


@pytest.mark.parametrize("name", FRECHET)
def test_clips_of_two_frames_in_512_dimensions_have_finite_values_and_gradients(name: str) -> None:
    clips = [clip.requires_grad_() for clip in torch.randn(9, 2, 512, generator=torch.Generator().manual_seed(1))]
    reference = Gaussian.fit(torch.randn(2, 512, generator=torch.Generator().manual_seed(2)))
    value = FRECHET[name](clips, reference)
    assert value.isfinite().all()
    if value.requires_grad:
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), clips))
    assert value.requires_grad == (name not in {"fad_infinity", "clip_contributions"})


@pytest.mark.parametrize("dim", [4, 20])
@pytest.mark.parametrize("name", sorted(FRECHET.keys() - {"fad_infinity", "clip_contributions"} | {"frechet_distance"}))
def test_gradients_at_repeated_singular_values_are_finite_differences(name: str, dim: int) -> None:
    """Frames at +- each axis of four: every variance is the same, and so is every one of the reference."""
    axes = torch.eye(4, dim, dtype=torch.float64)
    clip = torch.cat([axes, -axes]).requires_grad_()
    turn = rotation(1, dim)
    other = torch.cat([turn, -turn])

    def value(frames: Tensor) -> Tensor:
        return EVERY[name]([frames, frames], other)

    if dim == 4 and name != "frechet_loss":  # whose gradient is by design not that of its value
        assert torch.autograd.gradcheck(value, clip)
    (slope,) = torch.autograd.grad(value(clip).sum(), clip)
    assert slope.isfinite().all()
