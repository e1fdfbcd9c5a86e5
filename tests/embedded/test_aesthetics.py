"""Kernel regression heads, and the shipped head that was fitted on degradations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dragon_rewards import compose
from dragon_rewards.errors import ComposeError, DragonError
from dragon_rewards.reductions.aesthetics import KernelHead, fit_head
from dragon_train.embedded.pipeline import load_policy


@given(st.integers(0, 1000), st.floats(-100, 100), st.floats(0.1, 100))
@settings(deadline=None, max_examples=25)
def test_shifting_and_scaling_ratings_shifts_and_scales_the_head(seed: int, mean: float, spread: float) -> None:
    """Normalisation is global and undone; tolerance 1e-3 of the scale, float32."""
    generator = torch.Generator().manual_seed(seed)
    x, ratings = torch.randn(20, 8, generator=generator), torch.randn(20, generator=generator)
    plain, scaled = fit_head(x, ratings)(x), fit_head(x, mean + spread * ratings)(x)
    assert torch.allclose(scaled, mean + spread * plain, atol=1e-3 * (spread + abs(mean)))


def test_the_head_equals_kernel_ridge_regression_by_hand() -> None:
    """Two ratings, solved on paper: tolerance 1e-5."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([1.0, 3.0])
    head = fit_head(x, y, ridge=0.5)
    k = torch.exp(torch.tensor(-0.5))  # bandwidth is the only distance, 1
    a = 2**-0.5 / (1.5 - k)  # by symmetry the coefficients are -a and a
    expected = 2 + 2**0.5 * a * (1 - k)
    assert float(head(torch.tensor([[1.0]]))) == pytest.approx(float(expected), abs=1e-5)


def test_heads_are_stored_and_loaded(tmp_path: Path) -> None:
    """float16 on disk: tolerance 1%."""
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    head = fit_head(x, x[:, 0])
    head.save(tmp_path / "head.safetensors")
    again = KernelHead.load(tmp_path / "head.safetensors")
    assert torch.allclose(head(x), again(x), atol=0.02)


def test_equal_ratings_are_refused() -> None:
    with pytest.raises(DragonError, match="rate more"):
        fit_head(torch.randn(5, 2), torch.ones(5))


def test_the_head_is_tied_to_its_encoder() -> None:
    with pytest.raises(ComposeError, match="clap"):
        compose("aesthetics-degradation:vae")


def test_damage_lowers_the_rating() -> None:
    """Noise at the level of the music, on generations of the embedded model."""
    policy = load_policy()
    audio = policy.decode(policy.sample(["a slow hymn played on organ"] * 6, range(6), steps=10, guidance=3.0))[:, 0]
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0)) * audio.std()
    reward = compose("aesthetics-degradation:clap")
    assert (reward.score(audio, 16_000) > reward.score(audio + noise, 16_000)).float().mean() > 0.8
