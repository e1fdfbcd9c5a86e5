"""The ratings equal what the package audiobox-aesthetics gives with the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from audiobox_aesthetics.model import aes
from conftest import CONFIG, SIZES
from dragon_reward_audiobox import AXES, WINDOW, Audiobox
from torch import Tensor

from dragon_rewards import Clips, compose

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [  # of the original's own making
    pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask"),
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated"),
]
RATE = 16_000


@pytest.fixture(scope="module")
def original(release: dict[str, Tensor]) -> torch.nn.Module:
    """The original's network at the test's size, with the released names loaded strictly."""
    small = {
        "encoder_layers": SIZES["num_hidden_layers"],
        "encoder_embed_dim": SIZES["hidden_size"],
        "encoder_ffn_embed_dim": SIZES["intermediate_size"],
        "encoder_attention_heads": SIZES["num_attention_heads"],
        "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aes, "DEFAULT_AUDIO_CFG", aes.WavLMConfig({**aes.DEFAULT_AUDIO_CFG.__dict__, **small}))
        network = aes.AesMultiOutput(**CONFIG)
    network.load_state_dict(release)
    return network.eval()


def sounds(samples: int) -> Tensor:
    """Noise, a chirp and clicks, (3, samples)."""
    time = torch.arange(samples) / RATE
    noise = 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    return torch.stack([noise, 0.5 * torch.sin(2 * torch.pi * (100 + 90 * time) * time), (time * 7 % 1 < 0.01).float()])


def rated(original: torch.nn.Module, audio: Tensor) -> Tensor:
    """Ratings (clips, 4) as the original's predictor combines them: windows of 10 s, padded, weighted by length."""
    windows = audio.split(WINDOW, dim=1)
    total = torch.zeros(len(audio), 4)
    for window in windows:
        wav = torch.nn.functional.pad(window, (0, WINDOW - window.shape[1]))[:, None]
        mask = (torch.arange(WINDOW) < window.shape[1]).expand(len(audio), 1, -1)
        raw = original({"wav": wav, "mask": mask})
        scale = CONFIG["target_transform"]
        ratings = [raw[axis].reshape(-1) * scale[axis]["std"] + scale[axis]["mean"] for axis in AXES]
        total += torch.stack(ratings, -1) * window.shape[1] / audio.shape[1]
    return total


@pytest.mark.parametrize("samples", [1, 320, 321, 5 * RATE + 7, 159_361, WINDOW - 1, WINDOW, WINDOW + 1, 23 * RATE])
def test_ratings_are_those_of_the_original(folder: Path, original: torch.nn.Module, samples: int) -> None:
    audio = sounds(samples)
    with torch.no_grad():
        frames = Audiobox(folder).encode_audio(audio)
    assert frames.shape == (3, -(-samples // WINDOW), 4)
    torch.testing.assert_close(frames.mean(1), rated(original, audio), atol=1e-4, rtol=0)


def test_rewards_are_the_axes_of_the_original(original: torch.nn.Module) -> None:
    audio = sounds(12 * RATE)
    clips = Clips(audio, RATE)
    rewards = torch.stack([compose(f"audiobox-{axis.lower()}:audiobox").value(clips) for axis in AXES], -1)
    torch.testing.assert_close(rewards, rated(original, audio), atol=1e-4, rtol=0)
    assert (rewards.std(0) > 0.05).all()


def test_what_the_original_saves_is_loaded(folder: Path, original: torch.nn.Module, tmp_path: Path) -> None:
    original.save_pretrained(tmp_path)
    audio = sounds(RATE)
    torch.testing.assert_close(Audiobox(tmp_path).rate(audio), Audiobox(folder).rate(audio))
