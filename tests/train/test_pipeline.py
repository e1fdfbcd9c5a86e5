"""The adapter over StableAudioPipeline."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableAudioPipeline

from dragon_train.pipelines.stable_audio import StableAudioPolicy


def test_the_pipeline_class_is_unmodified(frozen_policy: StableAudioPolicy) -> None:
    assert type(frozen_policy.pipeline) is StableAudioPipeline


def test_a_clip_depends_on_its_own_prompt_and_seed(frozen_policy: StableAudioPolicy) -> None:
    both = frozen_policy.sample(["a jig on fiddle", "a hymn on organ"], [5, 6], 4, 1.0)
    alone = frozen_policy.sample(["a hymn on organ"], [6], 4, 1.0)
    assert torch.allclose(both[1:], alone, atol=1e-4)
    assert torch.equal(frozen_policy.sample(["a hymn on organ"], [6], 4, 1.0), alone)
    other = frozen_policy.sample(["a hymn on organ"], [7], 4, 1.0)
    assert not torch.allclose(other, alone, atol=0.1)


def test_decoded_audio_has_the_declared_length(frozen_policy: StableAudioPolicy) -> None:
    audio = frozen_policy.decode(frozen_policy.sample(["a jig on fiddle"], [0], 2, 1.0))
    assert audio.shape == (1, 1, round(frozen_policy.seconds * frozen_policy.sample_rate))
    assert audio.isfinite().all()


def test_denoising_error_is_the_error_of_the_pipeline_s_own_prediction(frozen_policy: StableAudioPolicy) -> None:
    """Tolerance 1e-4: the scheduler's denoised estimate from the same network, converted to v by hand."""
    latents = frozen_policy.sample(["a hymn on organ"], [1], 4, 1.0)
    condition = frozen_policy.condition(["a hymn on organ"])
    draw = frozen_policy.draw(latents, torch.Generator().manual_seed(3))
    sigma = float(draw.level)
    noisy = latents + sigma * draw.noise
    with torch.no_grad():
        predicted = frozen_policy.denoiser(
            noisy / (sigma**2 + 1) ** 0.5,
            torch.tensor([0.25 * torch.tensor(sigma).log()]),
            **condition,
        )[0]
        error = frozen_policy.denoising_error(latents, condition, draw)
    denoised = noisy / (sigma**2 + 1) - predicted * sigma / (sigma**2 + 1) ** 0.5
    weight = (sigma**2 + 1) / sigma**2  # v error = weight * denoised error
    assert float(error) == pytest.approx(weight * float((denoised - latents).square().mean()), rel=1e-4)


def test_the_model_denoises_better_than_guessing(frozen_policy: StableAudioPolicy) -> None:
    """A trained v-prediction beats predicting zero, whose error is the variance of v, about 1."""
    prompts = ["a slow hymn on the organ", "a quick jig on banjo"] * 4
    latents = frozen_policy.sample(prompts, range(8), 8, 1.0)
    draw = frozen_policy.draw(latents, torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert frozen_policy.denoising_error(latents, frozen_policy.condition(prompts), draw).mean() < 0.8
