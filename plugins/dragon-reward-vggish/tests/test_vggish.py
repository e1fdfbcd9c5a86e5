"""The encoder equals torchvggish, and refuses other weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dragon_reward_vggish import EXAMPLE, FILE, VGGish, find_weights
from torch import Tensor
from torchvggish.torchvggish import VGG
from torchvggish.vggish_input import waveform_to_examples

from dragon_rewards import AudioError, Clips, WeightsError, compose

RATE = 16_000


@pytest.fixture(scope="module")
def encoder(weights: Path) -> VGGish:
    return VGGish(weights)


def sounds(samples: int) -> Tensor:
    """Noise, a chirp, full-scale clicks, near silence and digital silence, (5, samples)."""
    generator = torch.Generator().manual_seed(samples)
    noise = torch.randn(samples, generator=generator)
    time = torch.arange(samples) / RATE
    chirp = 0.5 * torch.sin(2 * torch.pi * (50 + 700 * time) * time)
    clicks = (torch.arange(samples) % 997 == 0).float()
    return torch.stack([0.2 * noise, chirp, clicks, 1e-5 * noise, torch.zeros(samples)])


def original(audio: Tensor) -> Tensor:
    """The examples of torchvggish, (clips, examples, 96, 64)."""
    return torch.stack([waveform_to_examples(clip.double().numpy(), RATE)[:, 0].detach() for clip in audio])


@pytest.mark.parametrize("samples", [EXAMPLE, EXAMPLE + 1, 2 * RATE, 5 * RATE + 77, 10 * RATE])
def test_the_examples_are_those_of_torchvggish(encoder: VGGish, samples: int) -> None:
    audio = sounds(samples)
    expected = original(audio)
    torch.testing.assert_close(encoder.examples(audio.double()), expected, atol=1e-6, rtol=0, check_dtype=False)
    error = (encoder.examples(audio) - expected).abs().amax((1, 2, 3))
    # Beside a loud pure tone, the rounding of float32 shows in the bands that are empty.
    assert (error <= torch.tensor([1e-5, 1e-3, 1e-5, 1e-5, 1e-5])).all(), error


@pytest.mark.parametrize("samples", [240, 400, EXAMPLE - 1])
def test_what_torchvggish_finds_too_short_has_no_frames(encoder: VGGish, samples: int) -> None:
    audio = sounds(samples)
    assert original(audio).shape == (5, 0, 96, 64)
    assert encoder.encode_audio(audio).shape == (5, 0, 128)


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(AudioError, match=r"'short' .* is shorter than one frame of encoder 'vggish'"):
        compose("vendi:vggish").metric(Clips(sounds(EXAMPLE - 1)[:2], RATE, names=["short", "shorter"]))


def test_frames_are_those_of_torchvggish(encoder: VGGish, network: VGG) -> None:
    audio = sounds(20 * RATE)  # 100 examples: more than one pass
    with torch.no_grad():
        expected = torch.stack([network(clip[:, None]) for clip in original(audio)])
        frames = encoder.encode_audio(audio)
    assert frames.shape == (5, 20, 128)
    assert frames.std() > 0.1
    torch.testing.assert_close(frames, expected, atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_a_finite_difference(weights: Path) -> None:
    encoder = VGGish(weights)
    encoder.network.double()
    audio, step = sounds(EXAMPLE)[:1].double().requires_grad_(), 1e-6 * sounds(EXAMPLE)[1:2].double()
    (gradient,) = torch.autograd.grad(encoder.encode_audio(audio).sum(), audio)
    with torch.no_grad():
        difference = (encoder.encode_audio(audio + step) - encoder.encode_audio(audio - step)).sum() / 2
    torch.testing.assert_close((gradient * step).sum(), difference, atol=0, rtol=1e-4)


def test_silence_has_finite_gradients(encoder: VGGish) -> None:
    audio = torch.zeros(1, EXAMPLE, requires_grad=True)
    encoder.encode_audio(audio).sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_a_registered_reward_scores_clips() -> None:
    clips = Clips(sounds(3 * RATE)[:4], RATE)
    assert 1 < compose("vendi:vggish").metric(clips) <= 4


def test_missing_weights_are_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError, match=rf"https://github\.com/.*/{FILE}") as refusal:
        find_weights()
    assert f"{tmp_path / 'own' / 'vggish'} or {tmp_path / 'torch' / 'hub' / 'checkpoints'}" in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Not found</html>",
        {"features.0.weight": torch.zeros(64, 1, 3, 3)},
        {"features.0.weight": Path()},  # an object that is no tensor
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / FILE
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match=f"{FILE} is not the state dict of VGGish"):
        VGGish(path)


def test_other_weights_have_another_identity(encoder: VGGish, weights: Path, tmp_path: Path) -> None:
    state = torch.load(weights, weights_only=True)
    state["embeddings.4.bias"] = state["embeddings.4.bias"] + 1e-3
    torch.save(state, tmp_path / FILE)
    assert VGGish(tmp_path / FILE).identity != encoder.identity == VGGish(weights).identity
