"""The embedded autoencoder keeps diffusers' VAE interface and rebuilds sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dragon_rewards.embedded.autoencoder import (
    SpectralAutoencoder,
    fold,
    load_autoencoder,
    load_encoder,
    unfold,
)
from dragon_rewards.encoders.spectral import Chroma


@pytest.fixture(scope="module")
def model() -> SpectralAutoencoder:
    return load_autoencoder()


def plucked(pitch: float, seconds: float = 2.048) -> torch.Tensor:
    """A decaying harmonic tone, (1, 1, samples)."""
    time = torch.arange(int(seconds * 16_000)) / 16_000
    wave = sum(torch.sin(2 * torch.pi * pitch * k * time) / k for k in range(1, 6))
    return 0.2 * (wave * torch.exp(-2 * time))[None, None]


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7))
@settings(deadline=None)
def test_unfold_inverts_fold(clips: int, channels: int, half: int) -> None:
    codes = torch.arange(clips * channels * 2 * half).reshape(clips, channels, 2 * half)
    assert torch.equal(unfold(fold(codes)), codes)


def test_the_istft_inverts_the_stft(model: SpectralAutoencoder) -> None:
    """Tolerance 1e-5 of full scale, float32."""
    audio = torch.randn(2, 8 * 1024, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(model.istft(model.stft(audio))[:, 0], audio, atol=1e-5)


def test_shapes_follow_the_hop(model: SpectralAutoencoder) -> None:
    latents = model.encode(torch.randn(2, 1, 5 * model.hop_length + 100)).latent_dist.sample()
    assert latents.shape == (2, 128, 5)
    assert model.decode(latents).sample.shape == (2, 1, 5 * model.hop_length)


@pytest.mark.parametrize("pitch", [220.0, 440.0, 523.25, 880.0])
def test_a_tone_keeps_its_pitch_class(model: SpectralAutoencoder, pitch: float) -> None:
    original, rebuilt = (
        Chroma().encode_audio(audio[:, 0]).mean(1)[0] for audio in (plucked(pitch), model(plucked(pitch)))
    )
    assert int(rebuilt.argmax()) == int(original.argmax())


def test_latents_of_music_are_about_unit_scale(model: SpectralAutoencoder) -> None:
    latents = model.encode(torch.cat([plucked(p) for p in (220.0, 330.0, 440.0)])).latent_dist.mode()
    assert 0.3 < float(latents.std()) < 3


def test_a_small_model_reloads_exactly(tmp_path: Path) -> None:
    small = SpectralAutoencoder(code_channels=4, width=8).eval()
    small.save_pretrained(tmp_path)
    again = SpectralAutoencoder.from_pretrained(tmp_path).eval()
    audio = plucked(300.0)
    assert torch.equal(small(audio), again(audio))


def test_the_encoder_s_frames_are_the_codes(model: SpectralAutoencoder) -> None:
    encoder = load_encoder()
    audio = torch.cat([plucked(220.0), plucked(440.0)])
    frames = encoder.encode_audio(audio[:, 0])
    assert frames.shape == (2, 64, 64)
    assert torch.equal(frames, unfold(model.encode(audio).latent_dist.mode()).transpose(1, 2))
    assert encoder.identity.startswith("vae-")


def test_no_imaginary_part_of_the_lowest_and_the_highest_bin_reaches_the_inverse_transform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a card they would sound; a CPU's transform leaves them out."""
    seen: list[torch.Tensor] = []
    inverse = torch.fft.irfft

    def watched(spectrum: torch.Tensor, **how: int) -> torch.Tensor:
        seen.append(spectrum)
        found: torch.Tensor = inverse(spectrum, **how)
        return found

    monkeypatch.setattr(torch.fft, "irfft", watched)
    latents = torch.randn(1, 128, 4, generator=torch.Generator().manual_seed(0))
    load_autoencoder().decode(latents)
    assert torch.equal(seen[0].imag[..., [0, -1]], torch.zeros(1, 16, 2))
    assert seen[0].imag[..., 1:-1].abs().amin(dim=2).max() > 0
