"""The encoder that learnt to predict itself: causal, of known lengths, and other than a network that learnt nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support.sounds import tune

from dragon_rewards import compose
from dragon_rewards.embedded.spr import HOP, N_FFT, SHORTEST, STRIDE, WEIGHTS, WIDTH, EmbeddedSpr, load_encoder
from dragon_rewards.registry import load_registry

STEP = STRIDE * HOP  # samples from one embedding to the next
HORIZON = 4 * 6  # embeddings before its own that four convolutions of seven taps hear
MOST_BYTES = 1_200_000


@pytest.fixture(scope="module")
def spr() -> EmbeddedSpr:
    return load_encoder()


@pytest.fixture(scope="module")
def untrained() -> EmbeddedSpr:
    torch.manual_seed(0)
    return EmbeddedSpr().eval().requires_grad_(requires_grad=False)


def noise(clips: int, samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, SHORTEST + 3 * STEP))
@settings(deadline=None, max_examples=30)
def test_a_clip_has_an_embedding_for_every_four_whole_frames(samples: int) -> None:
    frames = EmbeddedSpr().encode_audio(torch.zeros(2, samples))
    expected = (1 + (samples - N_FFT) // HOP) // STRIDE if samples >= N_FFT else 0
    assert frames.shape == (2, expected, WIDTH)


def test_the_shortest_clip_has_one_embedding(spr: EmbeddedSpr) -> None:
    assert [spr.encode_audio(noise(1, SHORTEST - less)).shape[1] for less in (1, 0)] == [0, 1]


@given(st.integers(0, 30), st.integers(0, STEP - 1))
@settings(deadline=None, max_examples=20)
def test_an_embedding_hears_nothing_after_its_own_frames(place: int, after: int) -> None:
    """Samples beyond its own change nothing, to the bit, and its own last ones do."""
    model, audio = EmbeddedSpr().eval(), noise(1, SHORTEST + 31 * STEP)
    end = SHORTEST + place * STEP
    later, own = audio.clone(), audio.clone()
    later[:, end + after :] += noise(1, audio.shape[1] - end - after, 1)
    own[:, end - HOP : end] += noise(1, HOP, 1)
    with torch.no_grad():
        intact, beyond, within = (model.encode_audio(each)[:, : place + 1] for each in (audio, later, own))
    assert torch.equal(intact, beyond)
    assert not torch.equal(intact[:, place], within[:, place])


def test_an_embedding_hears_one_and_a_half_seconds_back_and_no_more(untrained: EmbeddedSpr) -> None:
    audio = noise(1, SHORTEST + (HORIZON + 2) * STEP)
    first = audio.clone()
    first[:, :HOP] += noise(1, HOP, 1)  # heard by the first embedding alone
    moved = (untrained.encode_audio(audio) != untrained.encode_audio(first)).any(-1)[0]
    assert moved.tolist() == [True] * (HORIZON + 1) + [False] * 2


def test_shipped_weights_are_small_and_repeat(spr: EmbeddedSpr) -> None:
    path = WEIGHTS / "model.safetensors"
    assert path.stat().st_size <= MOST_BYTES
    assert {value.dtype for value in load_file(path).values()} == {torch.float16}
    assert spr.identity == load_encoder().identity == load_registry().build_encoder("spr").identity
    assert torch.equal(spr.encode_audio(noise(2, 16_000)), load_encoder().encode_audio(noise(2, 16_000)))


def moved(model: EmbeddedSpr, audio: torch.Tensor) -> float:
    """Mean squared distance of embeddings from the next, as a share of that from any other (von Neumann)."""
    frames = model.encode_audio(audio)
    return float(frames.diff(dim=1).square().sum(-1).mean() / (2 * frames.var((0, 1)).sum()))


def test_embeddings_are_slower_than_by_networks_that_learnt_nothing(spr: EmbeddedSpr) -> None:
    """What is predicted is what lasts: of tunes of plucked notes that were never heard in training."""
    tunes = torch.stack([tune(seed) for seed in range(16)])
    for seed in range(3):
        torch.manual_seed(seed)
        with torch.no_grad():
            assert moved(spr, tunes) < 0.85 * moved(EmbeddedSpr().eval(), tunes)


@pytest.mark.parametrize("reward", ["per-song-fad:spr@airs", "dataset-fad:spr@tunebook", "kad:spr@airs", "vendi:spr"])
def test_rewards_compose_and_have_a_gradient(reward: str) -> None:
    audio = torch.stack([tune(seed)[:24_000] for seed in range(8)]).requires_grad_()
    value = compose(reward).score(audio, 16_000)
    assert value.isfinite().all()
    (gradient,) = torch.autograd.grad(value.sum(), audio)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
