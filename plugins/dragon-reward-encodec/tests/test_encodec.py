"""The encoders equal EncodecModel up to its quantiser, and refuse weights of another model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from dragon_reward_encodec import load_encoder
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import EncodecModel

from dragon_rewards import WeightsError

RATES = {"encodec": 24_000, "encodec-48khz": 48_000}
# One sample, less than a frame, a frame and a bit; a whole chunk of 48 kHz; a sample beyond it, beyond its stride.
LENGTHS = [1, 319, 401, 47_520, 47_521, 48_000, 48_001, 100_000]


def sounds(samples: int) -> Tensor:
    """Noise, a loud tone, and sound between silences, (3, samples)."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    tone = torch.sin(2 * torch.pi * 0.01 * torch.arange(samples))
    middle = (torch.arange(samples) > samples // 2) * noise
    return torch.stack([0.1 * noise, tone, middle])


def original(folder: Path, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (clips, frames, 128) that EncodecModel.encode quantises, and its codes (clips, quantisers, frames)."""
    model, latents = EncodecModel.from_pretrained(folder).eval(), []
    model.encoder.register_forward_hook(lambda _, __, output: latents.append(output))
    stereo = audio[:, None].expand(-1, model.config.audio_channels, -1)
    with torch.no_grad():
        output = model.encode(stereo)
    codes = torch.cat(list(output.audio_codes), dim=-1)
    return torch.cat(latents, -1).transpose(1, 2), codes[..., : codes.shape[-1] - output.last_frame_pad_length]


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("name", RATES)
def test_frames_are_what_the_model_quantises(weights: Path, name: str, samples: int) -> None:
    audio = sounds(samples)
    frames = load_encoder(name).encode_audio(audio)
    latents, codes = original(weights / name, audio)
    torch.testing.assert_close(frames, latents, atol=1e-5, rtol=1e-5)
    model = EncodecModel.from_pretrained(weights / name)
    own = model.quantizer.encode(frames.transpose(1, 2), 1.5).transpose(0, 1)
    assert (own == codes).float().mean() > 0.999  # a latent between two codes may round to either


@pytest.mark.parametrize(("name", "frames"), [("encodec", 750), ("encodec-48khz", 1500 + 15)])
def test_the_frame_rate_is_the_released_models(name: str, frames: int) -> None:
    # At 48 kHz eleven chunks start every 47,520 samples; ten have 150 frames, the last 4,800 samples: 15 frames.
    assert load_encoder(name).encode_audio(sounds(10 * RATES[name])).shape == (3, frames, 128)


@pytest.mark.parametrize("name", RATES)
def test_gradients_are_finite_where_a_chunk_is_silent(name: str) -> None:
    audio = sounds(3 * 48_000)
    audio[2, :60_000] = 0
    audio.requires_grad_()
    load_encoder(name).encode_audio(audio).square().sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()
    assert (audio.grad[0] != 0).float().mean() > 0.99


@pytest.mark.parametrize("name", RATES)
def test_either_file_of_weights_will_do(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    audio, copy = sounds(10_000), shutil.copytree(weights / name, tmp_path / name)
    expected = load_encoder(name).encode_audio(audio)
    names = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    state = load_file(copy / "model.safetensors")
    for new, released in names.items():  # as the released checkpoints name normalised weights
        state = {key.replace(new, released): value for key, value in state.items()}
    torch.save(state, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    assert torch.equal(load_encoder(name).encode_audio(audio), expected)


def test_weights_with_a_gap_are_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(weights / "encodec-48khz", tmp_path / "encodec-48khz")
    state = load_file(copy / "model.safetensors")
    del state["encoder.layers.0.conv.weight"]
    save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"lack encoder\.layers\.0\.conv\.weight"):
        load_encoder("encodec-48khz")


def test_the_other_models_weights_are_refused(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(weights / "encodec-48khz", tmp_path / "encodec")
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="sampling_rate is 48000, and encoder 'encodec' works at 24000"):
        load_encoder("encodec")
