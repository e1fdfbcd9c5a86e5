"""The encoder equals CLIPImageProcessor and CLIPModel, is differentiable, and says what it cannot use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import save_clip
from dragon_stable_diffusion import DIM, clip
from dragon_stable_diffusion_clip import Clip, load_encoder
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from dragon_rewards import EncoderError, Images, WeightsError, compose
from dragon_rewards.testing.images import pictures

TEXTS = ["a red house", "", "a boat"]
SIZES = [(64, 64), (96, 71), (53, 200), (224, 224), (511, 300), (640, 900)]  # height, width
LEVEL = 1 / 255


@pytest.fixture(scope="module")
def encoder() -> Clip:
    return load_encoder("clip", DIM)


def whole_levels(height: int, width: int) -> Tensor:
    """Images as files hold them, (4, 3, height, width) in [0, 1]."""
    return (pictures(4, height, width) * 255).round() / 255


def original_pixels(folder: Path, images: Tensor) -> Tensor:
    arrays = list((images * 255).round().byte().permute(0, 2, 3, 1).numpy())
    pixels: Tensor = CLIPImageProcessor.from_pretrained(folder / "clip")(arrays, return_tensors="pt")["pixel_values"]
    return pixels


@pytest.mark.parametrize("size", SIZES)
def test_preprocessing_is_the_image_processors(encoder: Clip, weights: Path, size: tuple[int, int]) -> None:
    images = whole_levels(*size)
    found, expected = encoder.preprocessing(images), original_pixels(weights, images)
    assert found.shape == expected.shape == (4, 3, 224, 224)
    levels = (found - expected) * encoder.preprocessing.deviation[:, None, None] / LEVEL
    assert levels.abs().max() < 1.2
    assert levels.abs().mean() < 0.4
    assert levels.mean().abs() < 0.05


def test_without_resizing_the_preprocessing_is_exact(encoder: Clip, weights: Path) -> None:
    images = whole_levels(224, 300)
    torch.testing.assert_close(encoder.preprocessing(images), original_pixels(weights, images), atol=1e-5, rtol=0)


def test_frames_are_those_of_clip_model(encoder: Clip, weights: Path) -> None:
    images = whole_levels(300, 224)
    model = CLIPModel.from_pretrained(weights / "clip").eval()
    with torch.no_grad():
        expected = model.get_image_features(original_pixels(weights, images)).pooler_output
    frames = encoder.encode_image(images)
    assert frames.shape == (4, 1, 512)
    torch.testing.assert_close(frames[:, 0], expected / expected.norm(dim=-1, keepdim=True), atol=1e-5, rtol=0)


def test_the_clip_score_is_the_cosine_of_clip_model(weights: Path) -> None:
    images = whole_levels(224, 224)[:3]
    model, tokenizer = (
        CLIPModel.from_pretrained(weights / "clip").eval(),
        CLIPTokenizer.from_pretrained(weights / "clip"),
    )
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        told = model(**tokens, pixel_values=original_pixels(weights, images))
    cosines = (told.logits_per_image / model.logit_scale.exp()).diagonal()
    found = compose("clip-score:clip").metric(Images(images, TEXTS))
    torch.testing.assert_close(found, cosines.detach(), atol=1e-5, rtol=0, check_dtype=False)


def test_a_text_beyond_the_last_position_is_cut(encoder: Clip) -> None:
    longest = "a " * 75  # of 77 positions, two are the marks of beginning and end
    assert encoder.count_tokens([longest, longest + "b c d"]) == [encoder.token_limit, encoder.token_limit + 3]
    embedded = encoder.encode_text([longest, longest + "b c d", longest[:-2] + "z"])
    torch.testing.assert_close(embedded[0], embedded[1])
    assert not torch.allclose(embedded[0], embedded[2])


def test_gradients_of_a_reward_reach_the_pixels() -> None:
    images = (0.1 + 0.8 * pictures(2, 224, 224)).requires_grad_()
    value = compose("clip-score:clip").value(Images(images, TEXTS[:2]))
    (gradient,) = torch.autograd.grad(value.sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().amax(1).bool().float().mean() > 0.99
    step = 1e-3 * gradient / gradient.abs().max()
    better = compose("clip-score:clip").value(Images(images.detach() + step, TEXTS[:2]))
    assert (better > value).all()


def test_rewards_of_sets_judge_images() -> None:
    same, different = pictures(1, 64, 64).expand(4, -1, -1, -1), pictures(4, 64, 64)
    vendi = compose("vendi:clip")
    assert vendi.metric(Images(same)) == pytest.approx(1, abs=1e-3)
    assert vendi.metric(Images(different)) > vendi.metric(Images(same))
    assert compose("dataset-fad:clip@descriptions").metric(Images(different)) > 0


def test_sound_is_refused() -> None:
    with pytest.raises(EncoderError, match="'clip' embeds image and text, and this is a set of clips"):
        compose("vendi:clip").score(torch.randn(4, 16_000), 16_000)


def dragon(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from dragon_train.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_files_of_sound_are_refused(tmp_path: Path) -> None:
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 8_000), 8_000)
    done = dragon("score", "vendi:clip", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert "name an encoder that hears audio" in done.stderr


@pytest.mark.parametrize(
    "processing",
    [{"do_center_crop": False}, {"resample": 2}, {"size": {"shortest_edge": 112}}, {"do_normalize": False}],
)
def test_another_preprocessing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processing: dict[str, Any]
) -> None:
    save_clip(tmp_path / "clip", **processing)
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"preprocessor_config.json: .* resizes the shortest edge"):
        clip()


def test_weights_with_a_gap_or_of_another_size_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    copy = shutil.copytree(weights / "clip", tmp_path / "clip")
    with pytest.raises(WeightsError, match="embeddings of 512 values, and this encoder has 768"):
        load_encoder("clip", 768)
    state = CLIPModel.from_pretrained(copy).state_dict()
    del state["visual_projection.weight"]
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"lack visual_projection\.weight"):
        clip()
