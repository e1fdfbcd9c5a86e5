"""Frames are the latents of the package `encodec`, given the same weights at the released size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import MODELS
from dragon_reward_encodec import Encodec, load_encoder
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import EncodecConfig, EncodecModel

ORIGINAL = Path(__file__).with_name("original.py")
SMALL = ("num_filters", "codebook_size", "target_bandwidths")
# One sample; less than a frame; a frame and a bit; two chunks of 48 kHz and a bit.
LENGTHS = [1, 319, 401, 100_000]
# Names in the package -> names in transformers.
NAMES = {
    ".model.": ".layers.",
    ".conv.conv.": ".conv.",
    ".conv.norm.": ".norm.",
    ".convtr.convtr.": ".conv.",
    ".convtr.norm.": ".norm.",
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
    "quantizer.vq.": "quantizer.",
    "._codebook.": ".codebook.",
}


def sounds(samples: int) -> Tensor:
    """Noise, a loud tone, and sound after silence, (3, samples)."""
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    tone = torch.sin(2 * torch.pi * 0.01 * torch.arange(samples))
    return torch.stack([0.1 * noise, tone, (torch.arange(samples) > samples // 2) * noise])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package wrote."""
    folder = tmp_path_factory.mktemp("original")
    stereo = {str(samples): sounds(samples)[:, None].repeat(1, 2, 1) for samples in LENGTHS}
    save_file(stereo, folder / "sounds.safetensors")
    command = [sys.executable, "-W", "ignore", str(ORIGINAL), str(folder)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def renamed(name: str) -> str:
    """The name in transformers of a weight of the package."""
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def encoder(folder: Path, name: str) -> Encodec:
    """The encoder, loaded from the package's weights under transformers' names: none is missing or left over."""
    config = {key: value for key, value in MODELS[name].items() if key not in SMALL}
    model = EncodecModel(EncodecConfig(**config))
    model.load_state_dict({renamed(key): value for key, value in load_file(folder / f"{name}.safetensors").items()})
    model.save_pretrained(folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        return load_encoder(name)


@pytest.mark.parametrize("samples", LENGTHS)
def test_frames_are_the_latents_of_the_package(folder: Path, name: str, encoder: Encodec, samples: int) -> None:
    expected = load_file(folder / f"{name}-latents.safetensors")[str(samples)].transpose(1, 2)
    frames = encoder.encode_audio(sounds(samples))
    assert samples == 1 or (frames[0] - frames[1]).abs().max() > 0.1  # the weights let sounds through
    torch.testing.assert_close(frames, expected, atol=1e-5, rtol=1e-5)
