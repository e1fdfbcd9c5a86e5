from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.metric_cases import (
    dims,
    embeddings,
    frechet_of_40_digits,
    frechet_of_sqrtm,
    lengths,
    rotation,
    seeds,
    songs,
    thorough,
    traces,
)
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian, dataset_fad, dataset_fad_subsets, frechet_distance, per_song_fad

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

scales = st.floats(-4, 4).map(lambda exponent: 10.0**exponent)


def two_gaussians(seed: int, dim: int) -> tuple[Gaussian, Gaussian]:
    return Gaussian.fit(embeddings(seed, dim + 9, dim)), Gaussian.fit(embeddings(seed + 1, dim + 6, dim))


@pytest.mark.slow
@thorough
@given(seeds, dims)
def test_the_distance_is_symmetric_non_negative_and_zero_on_itself(seed: int, dim: int) -> None:
    a, b = two_gaussians(seed, dim)
    there, back = frechet_distance(a, b), frechet_distance(b, a)
    assert there >= 0
    assert abs(there - back) <= 1e-9 * traces(a, b)
    assert frechet_distance(a, a) <= 1e-9 * traces(a)


@thorough
@given(seeds, st.integers(2, 6))
def test_the_distance_ignores_rotation_and_shared_translation(seed: int, dim: int) -> None:
    x, y, turn = embeddings(seed, 12, dim), embeddings(seed + 1, 15, dim), rotation(seed, dim)
    before = frechet_distance(Gaussian.fit(x), Gaussian.fit(y))
    after = frechet_distance(Gaussian.fit(x @ turn + 5), Gaussian.fit(y @ turn + 5))
    assert torch.isclose(after, before, rtol=1e-8)


@thorough
@given(seeds, dims, scales)
def test_scaling_all_embeddings_scales_every_distance_by_the_square(seed: int, dim: int, scale: float) -> None:
    clips, other = songs(seed, [3, 9, 9], dim), embeddings(seed + 9, 20, dim)
    near, far = Gaussian.fit(other), Gaussian.fit(other * scale)
    scaled = [clip * scale for clip in clips]
    rows = torch.tensor([[0, 1], [1, 2]])
    assert torch.allclose(per_song_fad(scaled, far), scale**2 * per_song_fad(clips, near), rtol=1e-8, atol=0)
    assert torch.allclose(dataset_fad(scaled, far), scale**2 * dataset_fad(clips, near), rtol=1e-8, atol=0)
    before, after = dataset_fad_subsets(clips, near)(rows), dataset_fad_subsets(scaled, far)(rows)
    assert torch.allclose(after, scale**2 * before, rtol=1e-8, atol=0)


@thorough
@given(seeds, st.integers(1, 5))
def test_the_distance_is_that_of_40_digits(seed: int, dim: int) -> None:
    x, y = embeddings(seed, dim + 9, dim), embeddings(seed + 1, dim + 6, dim)
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    assert abs(float(frechet_distance(a, b)) - frechet_of_40_digits(x, y)) <= 1e-9 * traces(a, b)


def test_a_well_conditioned_distance_has_13_digits() -> None:
    x, y = (torch.randn(40, 5, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    assert abs(float(frechet_distance(a, b)) - frechet_of_40_digits(x, y)) <= 1e-13 * traces(a, b)


def test_a_distance_of_ill_conditioned_covariances_has_7_digits() -> None:
    x, y = (embeddings(seed, 12, 6) * torch.logspace(0, -7, 6, dtype=torch.float64) for seed in (1, 2))
    a, b = Gaussian.fit(x), Gaussian.fit(y)
    assert abs(float(frechet_distance(a, b)) - frechet_of_40_digits(x, y)) <= 1e-7 * traces(a, b)


@pytest.mark.parametrize("dim", [8, 64])
def test_the_distance_is_that_of_a_matrix_square_root(dim: int) -> None:
    a, b = Gaussian.fit(embeddings(3, 3 * dim, dim)), Gaussian.fit(embeddings(4, 4 * dim, dim))
    assert abs(float(frechet_distance(a, b)) - frechet_of_sqrtm(a, b)) <= 1e-8 * traces(a, b)


@thorough
@given(seeds, lengths, dims)
def test_per_song_is_the_distance_of_each_clips_own_gaussian(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, reference = songs(seed, frame_counts, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    own = [Gaussian.fit(clip) for clip in clips]
    for gaussian, distance in zip(own, per_song_fad(clips, reference), strict=True):
        assert abs(distance - frechet_distance(gaussian, reference)) <= 1e-7 * traces(gaussian, reference)


def test_per_song_of_few_frames_has_13_digits() -> None:
    clip, other = embeddings(1, 3, 5), embeddings(2, 20, 5)
    reference = Gaussian.fit(other)
    distance = float(per_song_fad([clip], reference)[0])
    assert abs(distance - frechet_of_40_digits(clip, other)) <= 1e-13 * traces(reference, Gaussian.fit(clip))


@thorough
@given(seeds, lengths, dims)
def test_a_clips_distance_does_not_depend_on_the_other_clips(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, reference = songs(seed, frame_counts, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    together = per_song_fad(clips, reference)
    alone = torch.cat([per_song_fad([clip], reference) for clip in clips])
    assert torch.allclose(together, alone, rtol=1e-9, atol=1e-9 * traces(reference))


@thorough
@given(seeds, lengths, dims)
def test_the_order_of_clips_is_irrelevant(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, reference = songs(seed, frame_counts, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    backwards = clips[::-1]
    scale = 1e-9 * traces(reference)
    assert torch.allclose(per_song_fad(backwards, reference).flip(0), per_song_fad(clips, reference), atol=scale)
    assert torch.allclose(dataset_fad(backwards, reference), dataset_fad(clips, reference), atol=scale)


@thorough
@given(seeds, lengths, dims)
def test_dataset_is_the_distance_of_all_frames_together(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, reference = songs(seed, frame_counts, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    pooled = Gaussian.fit(torch.cat(clips))
    direct = frechet_distance(pooled, reference)
    assert abs(dataset_fad(clips, reference) - direct) <= 1e-7 * traces(pooled, reference)


@thorough
@given(seeds, st.integers(1, 12), st.integers(1, 4))
def test_subsets_are_the_distances_of_their_clips(seed: int, dim: int, size: int) -> None:
    clips, reference = songs(seed, [2, 5, 3, 5], dim), Gaussian.fit(embeddings(seed + 99, 30, dim))
    rows = torch.randint(4, (6, size), generator=torch.Generator().manual_seed(seed))
    direct = torch.stack([dataset_fad([clips[index] for index in row], reference) for row in rows.tolist()])
    assert torch.allclose(dataset_fad_subsets(clips, reference)(rows), direct, rtol=1e-7, atol=1e-7 * traces(reference))


def test_subsets_in_small_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, reference = songs(0, [4] * 5, 3), Gaussian.fit(embeddings(9, 20, 3))
    rows = torch.combinations(torch.arange(5), 3)
    whole = dataset_fad_subsets(clips, reference)(rows), per_song_fad(clips, reference)
    monkeypatch.setattr("dragon_rewards.metrics.frechet.BATCH_ELEMENTS", 20)
    assert torch.allclose(dataset_fad_subsets(clips, reference)(rows), whole[0], rtol=1e-12)
    assert torch.allclose(per_song_fad(clips, reference), whole[1], rtol=1e-12)


@pytest.mark.parametrize("rows", [torch.tensor([[0, 1]]), torch.tensor([[0], [1]] * 8)], ids=["frames", "clips"])
def test_subsets_keep_a_small_spread_far_from_the_origin(rows: Tensor) -> None:
    """Summed over frames, or, as rows that share no clip are, over scatters of clips."""
    clips, other = songs(0, [30, 40], 3), embeddings(9, 50, 3)
    near = dataset_fad_subsets(clips, Gaussian.fit(other))(rows)
    far = dataset_fad_subsets([clip + 1e5 for clip in clips], Gaussian.fit(other + 1e5))(rows)
    assert torch.allclose(far, near, rtol=1e-8)


def test_subsets_that_share_little_are_as_exact_as_one_alone() -> None:
    clips, reference = songs(3, [7, 9, 8, 11, 6, 10], 5), Gaussian.fit(embeddings(9, 50, 5))
    rows = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 3, 3], [1, 2, 4]] * 4)
    subsets = dataset_fad_subsets(clips, reference)
    assert torch.allclose(subsets(rows), torch.cat([subsets(row[None]) for row in rows]), rtol=1e-12)


def test_no_subsets_have_no_distances() -> None:
    subsets = dataset_fad_subsets(songs(0, [4, 4], 2), Gaussian.fit(embeddings(9, 20, 2)))
    assert subsets(torch.empty(0, 2, dtype=torch.long)).shape == (0,)


def test_prepared_subsets_pickle() -> None:
    subsets = dataset_fad_subsets(songs(0, [4, 4], 2), Gaussian.fit(embeddings(9, 20, 2)))
    rows = torch.tensor([[0, 1]])
    assert torch.equal(pickle.loads(pickle.dumps(subsets))(rows), subsets(rows))  # noqa: S301


@pytest.mark.parametrize("frames", [4, 15])
def test_gradients_of_the_frames_are_finite_differences(frames: int) -> None:
    clip, reference = embeddings(1, frames, 6), Gaussian.fit(embeddings(2, 20, 6))
    mate, rows = embeddings(3, 9, 6), torch.tensor([[0, 1]])
    clip.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: per_song_fad([x], reference), clip)
    assert torch.autograd.gradcheck(lambda x: dataset_fad([x, mate], reference), clip)
    assert torch.autograd.gradcheck(lambda x: dataset_fad_subsets([x, mate], reference)(rows), clip)


def test_gradients_of_both_gaussians_are_finite_differences() -> None:
    a, b = embeddings(1, 12, 4).requires_grad_(), embeddings(2, 15, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: frechet_distance(Gaussian.fit(x), Gaussian.fit(y)), (a, b))


def test_gradients_at_a_rank_deficient_covariance_are_those_of_the_singular_values() -> None:
    reference = Gaussian.fit(embeddings(2, 60, 20))
    clip = embeddings(1, 5, 20).requires_grad_()
    (by_eigenvalues,) = torch.autograd.grad(frechet_distance(Gaussian.fit(clip), reference), clip)
    (by_singular_values,) = torch.autograd.grad(per_song_fad([clip], reference).sum(), clip)
    assert torch.allclose(by_eigenvalues, by_singular_values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("frames", [3, 20])
def test_gradients_of_identical_frames_are_finite(frames: int) -> None:
    clip, reference = torch.ones(frames, 6).requires_grad_(), Gaussian.fit(embeddings(2, 4, 6))
    (slope,) = torch.autograd.grad(per_song_fad([clip], reference).sum(), clip)
    assert slope.isfinite().all()


def test_a_step_down_the_gradient_brings_frames_nearer() -> None:
    clips, reference = songs(1, [6, 9], 4), Gaussian.fit(embeddings(7, 30, 4))
    frames = torch.cat(clips).requires_grad_()
    before = dataset_fad(torch.split(frames, [6, 9]), reference)
    (slope,) = torch.autograd.grad(before, frames)
    assert dataset_fad(torch.split(frames - 0.1 * slope, [6, 9]), reference) < before


fads: list[Callable[[Sequence[Tensor], Gaussian], object]] = [per_song_fad, dataset_fad, dataset_fad_subsets]


@pytest.mark.parametrize("fad", fads)
@pytest.mark.parametrize(
    ("clip", "cause"),
    [
        (torch.tensor([[0.0, torch.nan]] * 3), "clip 1 has NaN .* frame 0"),
        (torch.zeros(4, 3), "clip 1 has 3 dimensions.* has 2"),
        (torch.zeros(4), r"clip 1 must be a matrix .* not of shape \(4,\)"),
        (torch.zeros(0, 2), "clip 1 has 0 frame"),
    ],
)
def test_a_clip_that_cannot_be_judged_is_named(
    fad: Callable[[Sequence[Tensor], Gaussian], object], clip: Tensor, cause: str
) -> None:
    with pytest.raises(DragonError, match=cause):
        fad([torch.zeros(4, 2), clip], Gaussian.fit(embeddings(0, 5, 2)))


@pytest.mark.parametrize("fad", fads)
def test_no_clips_are_refused(fad: Callable[[Sequence[Tensor], Gaussian], object]) -> None:
    with pytest.raises(DragonError, match="no clips"):
        fad([], Gaussian.fit(embeddings(0, 5, 2)))


def test_one_frame_is_too_few_for_a_song_and_for_a_dataset() -> None:
    reference = Gaussian.fit(embeddings(0, 5, 2))
    with pytest.raises(DragonError, match="clip 1 has 1 frame"):
        per_song_fad([torch.zeros(2, 2), torch.zeros(1, 2)], reference)
    with pytest.raises(DragonError, match="at least 2 frames in all, not 1"):
        dataset_fad([torch.zeros(1, 2)], reference)
    with pytest.raises(DragonError, match="at least 2 frames in all, not 1"):
        dataset_fad_subsets([torch.zeros(1, 2)] * 2, reference)(torch.tensor([[0], [1]]))


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (torch.tensor([[0, 2]]), "indices 0 to 2, and there are 2 clips"),
        (torch.tensor([[-1, 0]]), "indices -1 to 0"),
        (torch.tensor([0, 1]), r"shape \(2,\)"),
        (torch.tensor([[0.0, 1.0]]), "float32"),
        (torch.empty(3, 0, dtype=torch.long), r"shape \(3, 0\)"),
    ],
)
def test_rows_that_are_no_subsets_are_refused(rows: Tensor, cause: str) -> None:
    subsets = dataset_fad_subsets(songs(0, [4, 4], 2), Gaussian.fit(embeddings(9, 20, 2)))
    with pytest.raises(DragonError, match=cause):
        subsets(rows)


def test_gaussians_of_two_spaces_have_no_distance() -> None:
    with pytest.raises(DragonError, match=r"has 2 dimensions.* has 3"):
        frechet_distance(Gaussian.fit(embeddings(0, 5, 2)), Gaussian.fit(embeddings(0, 5, 3)))


@pytest.mark.parametrize("lowest", [1.0, 1e-9])  # spectra that are and that are not well-conditioned
@pytest.mark.parametrize("dim", [3, 40])
def test_many_frames_have_the_distance_that_they_have_at_once(
    dim: int, lowest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = torch.logspace(0, float(torch.tensor(lowest).log10()), dim).double()
    clips = [clip.double() * spread for clip in songs(1, [300, 7, 411, 2], dim)]
    before, reference = [clip.clone() for clip in clips], Gaussian.fit(embeddings(2, 200, dim).double() * spread)
    expected = per_song_fad(clips, reference), dataset_fad(clips, reference)
    monkeypatch.setattr("dragon_rewards.metrics.frechet.MANY", 4 * dim * 30)  # 30 frames a block
    found = per_song_fad(clips, reference), dataset_fad(clips, reference)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(clip, old) for clip, old in zip(clips, before, strict=True))
    own = Gaussian.fit(torch.cat(clips))
    assert dataset_fad(clips, own) < 1e-9 * own.covariance.trace()


@pytest.mark.parametrize(("at", "cause"), [(0, "clip 0 has NaN"), (1, "clip 1 has 0 frame")])
def test_many_frames_are_checked_as_few_are(at: int, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, reference = songs(1, [30, 40], 3), Gaussian.fit(embeddings(2, 20, 3))
    clips = [torch.full_like(clips[0], torch.nan) if at == 0 else clips[0], clips[1][:0] if at == 1 else clips[1]]
    monkeypatch.setattr("dragon_rewards.metrics.frechet.MANY", 12)
    with pytest.raises(DragonError, match=cause):
        dataset_fad(clips, reference)


def test_gradients_of_many_frames_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, reference = songs(1, [30, 40], 3), Gaussian.fit(embeddings(2, 20, 3))
    monkeypatch.setattr("dragon_rewards.metrics.frechet.MANY", 12)
    frames = [clip.clone().requires_grad_() for clip in clips]
    dataset_fad(frames, reference).backward()
    assert all(clip.grad is not None and clip.grad.abs().sum() > 0 for clip in frames)
