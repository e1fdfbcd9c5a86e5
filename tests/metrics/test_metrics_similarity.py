from __future__ import annotations

import mpmath  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import given
from support.metric_cases import dims, embeddings, lengths, seeds, songs, thorough
from torch.nn.functional import cosine_similarity

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics import clap_score


@thorough
@given(seeds, lengths, dims)
def test_the_score_is_the_cosine_of_mean_and_prompt(seed: int, frame_counts: list[int], dim: int) -> None:
    clips, prompts = songs(seed, frame_counts, dim), embeddings(seed + 99, len(frame_counts), dim)
    means = torch.stack([clip.mean(0) for clip in clips])
    scores = clap_score(clips, prompts)
    assert torch.allclose(scores, cosine_similarity(means, prompts), rtol=1e-9, atol=1e-9)
    assert torch.allclose(scores, clap_score([clip * 1e4 for clip in clips], prompts * 1e-4), rtol=1e-9, atol=1e-9)
    assert scores.abs().max() <= 1 + 1e-12


@pytest.mark.parametrize("offset", [0, 1e4])
def test_the_score_is_that_of_40_digits(offset: float) -> None:
    clip, prompt = embeddings(1, 7, 5) + offset, embeddings(2, 1, 5)
    with mpmath.workdps(40):
        mean, other = mpmath.matrix(clip.tolist()).T * mpmath.ones(7, 1) / 7, mpmath.matrix(prompt[0].tolist())
        expected = float((mean.T * other)[0] / mpmath.norm(mean) / mpmath.norm(other))
    assert float(clap_score([clip], prompt)[0]) == pytest.approx(expected, rel=0, abs=1e-14)


def test_gradients_are_finite_differences() -> None:
    clip, prompt = embeddings(1, 3, 4).requires_grad_(), embeddings(2, 1, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: clap_score([x], y), (clip, prompt))


@pytest.mark.parametrize(
    ("clips", "prompts", "cause"),
    [
        ([torch.ones(2, 3)], torch.ones(2, 3), "1 clip .* 2 prompts"),
        ([], torch.ones(0, 3), "no clips"),
        ([torch.ones(2, 3), torch.ones(2, 4)], torch.ones(2, 3), "clip 1 has 4 dimensions"),
        ([torch.ones(0, 3)], torch.ones(1, 3), "clip 0 has 0 frame"),
        ([torch.ones(2, 3)], torch.full((1, 3), torch.nan), "prompts has NaN"),
        ([torch.ones(2, 3)], torch.zeros(1, 3), "prompt 0 is zero"),
        ([torch.ones(1, 3), torch.tensor([[1.0, 0, 0], [-1, 0, 0]])], torch.ones(2, 3), "mean frame of clip 1 is zero"),
    ],
)
def test_clips_and_prompts_that_cannot_be_compared_are_refused(
    clips: list[torch.Tensor], prompts: torch.Tensor, cause: str
) -> None:
    with pytest.raises(DragonError, match=cause):
        clap_score(clips, prompts)
