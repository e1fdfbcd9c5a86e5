"""Scores equal those of transformers and of the head by hand, and other weights are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import random_head
from dragon_reward_tunejury import CLAP, HEAD, WINDOW, TuneJury, load_encoder, middle, quantise
from torch import Tensor
from transformers import ClapAudioModelWithProjection, ClapFeatureExtractor

from dragon_rewards import Clips, ComposeError, WeightsError, compose

RATE = 48_000


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TuneJury:
    assert folder.is_dir()
    return load_encoder()


def sounds(samples: int) -> Tensor:
    """Noise, a chirp and clicks, (3, samples)."""
    time = torch.arange(samples) / RATE
    noise = 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return torch.stack([noise, 0.5 * torch.sin(2 * torch.pi * (100 + 90 * time) * time), (time * 7 % 1 < 0.01).float()])


def head_by_hand(x: Tensor) -> Tensor:
    """What four layers with normalisation by running moments, and a last one, make of embeddings: (clips, 1)."""
    state = {name: tensor.double() for name, tensor in random_head().items()}
    x = x.double()
    for at in (0, 4, 8, 12):
        x = x @ state[f"net.{at}.weight"].T + state[f"net.{at}.bias"]
        mean, var = state[f"net.{at + 1}.running_mean"], state[f"net.{at + 1}.running_var"]
        x = (x - mean) / (var + 1e-5).sqrt() * state[f"net.{at + 1}.weight"] + state[f"net.{at + 1}.bias"]
        x = x.clamp_min(0)
    return x @ state["net.16.weight"].T + state["net.16.bias"]


@pytest.mark.parametrize("samples", [RATE, 3 * RATE + 7, WINDOW])
def test_scores_are_those_of_the_tower_and_the_head(
    encoder: TuneJury, tower: ClapAudioModelWithProjection, extractor: ClapFeatureExtractor, samples: int
) -> None:
    """Tolerance 1e-3: the extractor works in float64."""
    audio = quantise(sounds(samples))
    features = extractor([clip.numpy() for clip in audio], sampling_rate=RATE, return_tensors="pt").input_features
    with torch.no_grad():
        embedded = torch.nn.functional.normalize(tower(input_features=features).audio_embeds, dim=-1)
        made = encoder.encode_audio(audio)
    assert made.shape == (3, 1, 1)
    torch.testing.assert_close(made[:, 0], head_by_hand(embedded).float(), atol=1e-3, rtol=0)
    assert made.std() > 0.01


def test_a_long_clip_is_scored_by_its_middle(encoder: TuneJury) -> None:
    audio = sounds(WINDOW + 1001)
    assert torch.equal(middle(audio), audio[:, 500 : 500 + WINDOW])
    torch.testing.assert_close(encoder.encode_audio(audio), encoder.encode_audio(audio[:, 500 : 500 + WINDOW]))


def test_a_short_clip_is_repeated_and_filled_up() -> None:
    audio = torch.arange(1.0, 200_001)[None]
    assert torch.equal(middle(audio), torch.cat([audio, audio, torch.zeros(1, 80_000)], dim=1))


def test_samples_are_those_of_16_bits() -> None:
    audio = torch.cat([3 * sounds(10_000)[0], torch.tensor([-2.0, -1.0, -1e-9, 0.0, 1.0, 2.0])])
    expected = (np.clip(audio.numpy(), -1.0, 1.0) * 32767.0).astype(np.int16) / np.float32(32767)
    assert torch.equal(quantise(audio), torch.from_numpy(expected))


def test_the_reward_is_the_score(encoder: TuneJury) -> None:
    audio = sounds(2 * RATE)
    scores = compose("tunejury:tunejury").value(Clips(audio, RATE))
    torch.testing.assert_close(scores, encoder.encode_audio(audio)[:, 0, 0])
    with pytest.raises(ComposeError, match="works only with tunejury"):
        compose("vendi:tunejury")


def test_gradients_reach_the_audio(encoder: TuneJury) -> None:
    audio = sounds(RATE)[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(encoder.encode_audio(audio).sum(), audio)
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.9


def changed(folder: Path, copy: Path, file: str, change: Callable[[dict[str, Tensor]], None]) -> Path:
    shutil.copytree(folder, copy)
    stored = torch.load(folder / file, weights_only=False)
    change(stored.get("state_dict", stored))
    torch.save(stored, copy / file)
    return copy


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (HEAD, lambda state: state.pop("net.5.running_var"), "Missing key"),
        (HEAD, lambda state: state.update({"net.20.weight": torch.zeros(1)}), "Unexpected key"),
        (HEAD, lambda state: state.update({"net.0.weight": torch.zeros(1024, 2048)}), "size mismatch"),
        (CLAP, lambda state: state.pop("module.audio_branch.logmel_extractor.melW"), "melW"),
        (CLAP, lambda state: state.pop("module.audio_branch.layers.1.blocks.0.attn.qkv.bias"), "Missing key"),
        (CLAP, lambda state: state.update({"module.audio_branch.extra": torch.zeros(1)}), "Unexpected key"),
        (CLAP, lambda state: state.clear(), "download it again"),
    ],
)
def test_weights_of_another_model_are_refused(
    folder: Path, tmp_path: Path, file: str, change: Callable[[dict[str, Tensor]], None], said: str
) -> None:
    copy = changed(folder, tmp_path / "tunejury", file, change)
    with pytest.raises(WeightsError, match=rf"{file} is not {file} of [\s\S]*{said}"):
        TuneJury(copy / HEAD, copy / CLAP)


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", [1, 2], {"state_dict": {}, "more": Path()}])
def test_a_file_of_something_else_is_refused(folder: Path, tmp_path: Path, content: object) -> None:
    path = tmp_path / HEAD
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(WeightsError, match="no checkpoint of tensors and numbers"):
        TuneJury(path, folder / CLAP)
