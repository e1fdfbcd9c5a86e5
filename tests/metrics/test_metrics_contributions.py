from __future__ import annotations

import pytest
import torch
from hypothesis import given
from support.metric_cases import dims, embeddings, lengths, seeds, songs, thorough, traces
from torch import Tensor

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import Gaussian, clip_contributions, dataset_fad, frechet_distance


def left_out(clips: list[Tensor], reference: Gaussian) -> Tensor:
    """Leave-one-out from the frames: every FAD afresh."""
    without = [dataset_fad(clips[:index] + clips[index + 1 :], reference) for index in range(len(clips))]
    return dataset_fad(clips, reference) - torch.stack(without)


def weighted_fad(clips: list[Tensor], weights: Tensor, reference: Gaussian) -> Tensor:
    """FAD of weighted frames: a frame of weight 2 counts twice."""
    pooled = torch.cat(clips)
    per_frame = weights.repeat_interleave(torch.tensor([len(clip) for clip in clips])).unsqueeze(1)
    total = per_frame.sum()
    mean = (per_frame * pooled).sum(0) / total
    centred = pooled - mean
    return frechet_distance(Gaussian(mean, (per_frame * centred).mT @ centred / (total - 1), 2), reference)


def slopes(clips: list[Tensor], reference: Gaussian, step: float = 1e-4) -> Tensor:
    """Central differences of `weighted_fad` in the weight of each clip."""
    nudges = step * torch.eye(len(clips), dtype=torch.float64)
    rises = [weighted_fad(clips, 1 + nudge, reference) - weighted_fad(clips, 1 - nudge, reference) for nudge in nudges]
    return torch.stack(rises) / (2 * step)


@thorough
@given(seeds, lengths.filter(lambda counts: len(counts) > 1), dims)
def test_leave_one_out_is_that_of_the_frames(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, reference = songs(seed, frame_counts, dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    found = clip_contributions(clips, reference)
    scale = 1e-7 * traces(reference, Gaussian.fit(torch.cat(clips)))
    assert abs(found.value - dataset_fad(clips, reference)) <= scale
    assert (found.leave_one_out - left_out(clips, reference)).abs().max() <= scale


@thorough
@given(seeds, dims)
def test_the_marginal_is_the_slope_in_the_weight_of_a_clip(seed: int, dim: int) -> None:
    clips, reference = songs(seed, [dim + 3, 4, 7], dim), Gaussian.fit(embeddings(seed + 99, 20, dim))
    scale = traces(reference, Gaussian.fit(torch.cat(clips)))
    assert (clip_contributions(clips, reference).marginal - slopes(clips, reference)).abs().max() <= 1e-6 * scale


def test_well_conditioned_contributions_have_12_digits() -> None:
    clips, reference = songs(1, [30, 40, 50], 5), Gaussian.fit(embeddings(9, 200, 5))
    scale = traces(reference, Gaussian.fit(torch.cat(clips)))
    found = clip_contributions(clips, reference)
    assert (found.leave_one_out - left_out(clips, reference)).abs().max() <= 1e-12 * scale


def test_the_marginals_of_many_clips_are_their_leave_one_out_to_first_order() -> None:
    mixing = torch.randn(4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    frames = torch.randn(400, 6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) @ mixing + 1
    found = clip_contributions(list(frames), Gaussian.fit(embeddings(9, 200, 4)))
    assert (found.marginal - found.leave_one_out).abs().max() <= 0.02 * found.leave_one_out.abs().max()


def test_an_outlier_is_ranked_worst() -> None:
    clips, other = songs(1, [8] * 12, 5), embeddings(3, 300, 5)
    drawn = torch.randn(12, 8, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    root = Gaussian.fit(other).sqrt
    clips = list(drawn @ root + other.mean(0))
    clips[7] = clips[7] + 6 * root.diagonal()
    found = clip_contributions(clips, Gaussian.fit(other))
    assert int(found.leave_one_out.argmax()) == int(found.marginal.argmax()) == 7
    assert found.leave_one_out[7] > 0


def test_fewer_frames_than_dimensions_have_finite_contributions() -> None:
    clips, reference = songs(1, [3, 4, 2], 20), Gaussian.fit(embeddings(9, 60, 20))
    found = clip_contributions(clips, reference)
    scale = traces(reference, Gaussian.fit(torch.cat(clips)))
    assert (found.leave_one_out - left_out(clips, reference)).abs().max() <= 1e-7 * scale
    assert (found.marginal - slopes(clips, reference)).abs().max() <= 1e-6 * scale


def test_a_reference_of_lower_rank_and_clips_without_variance_have_finite_contributions() -> None:
    reference = Gaussian.fit(embeddings(9, 4, 6))
    found = clip_contributions([torch.ones(3, 6), torch.ones(2, 6)], reference)
    assert torch.equal(found.marginal, torch.zeros(2, dtype=torch.float64))
    assert torch.allclose(found.leave_one_out, torch.zeros(2, dtype=torch.float64))
    assert clip_contributions(songs(1, [5, 6, 7], 6), reference).marginal.isfinite().all()


def test_small_batches_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, reference = songs(0, [4] * 5, 3), Gaussian.fit(embeddings(9, 20, 3))
    whole = clip_contributions(clips, reference)
    monkeypatch.setattr("dragon_rewards.metrics.contributions.BATCH_ELEMENTS", 20)
    assert torch.allclose(clip_contributions(clips, reference).leave_one_out, whole.leave_one_out, rtol=1e-12)


@pytest.mark.parametrize(
    ("clips", "cause"),
    [
        ([], "no clips"),
        ([torch.zeros(4, 2)], "at least 2 clips, and there is 1"),
        ([torch.zeros(1, 2), torch.zeros(4, 2)], "without clip 1 there is 1 frame"),
        ([torch.zeros(4, 2), torch.tensor([[0.0, torch.nan]])], "clip 1 has NaN .* frame 0"),
        ([torch.zeros(4, 2), torch.zeros(0, 2)], "clip 1 has 0 frame"),
        ([torch.zeros(4, 2), torch.zeros(4, 3)], "clip 1 has 3 dimensions.* has 2"),
    ],
)
def test_clips_without_contributions_are_refused(clips: list[Tensor], cause: str) -> None:
    with pytest.raises(DragonError, match=cause):
        clip_contributions(clips, Gaussian.fit(embeddings(0, 5, 2)))
