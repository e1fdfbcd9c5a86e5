"""`dinov2` and `siglip2` equal the processors and models of transformers, and say what they cannot use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import save_dinov2, save_siglip2
from dragon_reward_images_transformers import DinoV2, SigLip2, load_dinov2, load_siglip2
from torch import Tensor
from transformers import BitImageProcessor, Dinov2Model, Siglip2Tokenizer, SiglipImageProcessor, SiglipModel

from dragon_rewards import EncoderError, Images, WeightsError, compose
from dragon_rewards.testing.images import pictures

TEXTS = ["a red house", "", "A Boat"]
SIZES = [(64, 64), (96, 71), (53, 200), (224, 224), (300, 511), (640, 900)]  # height, width
TALL = [(511, 300), (300, 30)]  # of which Pillow shrinks the height first since 13, so that noise is clipped otherwise
LEVEL = 1 / 255
SQUARE = {"height": 224, "width": 224}
PROCESSORS: dict[str, Any] = {
    "dinov2": BitImageProcessor(
        size=SQUARE, do_center_crop=False, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    ),
    "siglip2": SiglipImageProcessor(size=SQUARE),
}
LOADERS: dict[str, Callable[[], DinoV2 | SigLip2]] = {"dinov2": load_dinov2, "siglip2": load_siglip2}


@pytest.fixture(scope="module", params=LOADERS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def encoder(name: str) -> DinoV2 | SigLip2:
    return LOADERS[name]()


def whole_levels(height: int, width: int) -> Tensor:
    """Images as files hold them, (4, 3, height, width) in [0, 1]."""
    return (pictures(4, height, width) * 255).round() / 255


def original_pixels(name: str, images: Tensor) -> Tensor:
    arrays = list((images * 255).round().byte().permute(0, 2, 3, 1).numpy())
    pixels: Tensor = PROCESSORS[name](arrays, return_tensors="pt")["pixel_values"]
    return pixels


@pytest.mark.parametrize("size", [*SIZES, *TALL])
def test_preprocessing_is_the_image_processors(encoder: DinoV2 | SigLip2, name: str, size: tuple[int, int]) -> None:
    images = whole_levels(*size)
    found, expected = encoder.pixels(images), original_pixels(name, images)
    assert found.shape == expected.shape == (4, 3, 224, 224)
    levels = (found - expected) * torch.tensor(PROCESSORS[name].image_std)[:, None, None] / LEVEL
    assert levels.abs().max() < (20 if size in TALL else 1.2)
    assert levels.abs().mean() < 0.4
    assert levels.mean().abs() < 0.05


def test_without_resizing_the_preprocessing_is_exact(encoder: DinoV2 | SigLip2, name: str) -> None:
    images = whole_levels(224, 224)
    torch.testing.assert_close(encoder.pixels(images), original_pixels(name, images), atol=1e-5, rtol=0)


def test_frames_of_dinov2_are_the_class_token(weights: Path) -> None:
    images = whole_levels(224, 224)
    with torch.no_grad():
        expected = Dinov2Model.from_pretrained(weights / "dinov2").eval()(original_pixels("dinov2", images))
    frames = load_dinov2().encode_image(images)
    assert frames.shape == (4, 1, 1024)
    torch.testing.assert_close(frames[:, 0], expected.last_hidden_state[:, 0], atol=1e-4, rtol=0)


def test_the_score_of_siglip2_is_the_cosine_of_siglip_model(weights: Path) -> None:
    images = whole_levels(224, 224)[:3]
    model = SiglipModel.from_pretrained(weights / "siglip2").eval()
    tokenizer = Siglip2Tokenizer.from_pretrained(weights / "siglip2", padding_side="right")
    tokens = tokenizer([text.lower() for text in TEXTS], padding="max_length", max_length=64, return_tensors="pt")
    with torch.no_grad():
        told = model(input_ids=tokens.input_ids, pixel_values=original_pixels("siglip2", images))
    cosines = ((told.logits_per_image - model.logit_bias) / model.logit_scale.exp()).diagonal()
    found = compose("clap-score:siglip2").metric(Images(images, TEXTS))
    torch.testing.assert_close(found, cosines.detach(), atol=1e-5, rtol=0, check_dtype=False)


def test_a_text_is_lower_case_and_filled_up_on_the_right_and_cut() -> None:
    encoder = load_siglip2()
    longest = "a" * 63  # of 64 positions, one is the mark of the end
    assert encoder.count_tokens([longest, longest + "bcd"]) == [encoder.token_limit, encoder.token_limit + 3]
    embedded = encoder.encode_text([longest, longest + "bcd", longest.upper(), "b"])
    torch.testing.assert_close(embedded[0], embedded[1])
    torch.testing.assert_close(embedded[0], embedded[2])
    ids = encoder.tokenizer(["b"], padding="max_length", max_length=64)["input_ids"][0]
    assert ids[:2] == encoder.tokenizer.convert_tokens_to_ids(["b", "<eos>"])
    assert set(ids[2:]) == {encoder.tokenizer.pad_token_id}


def test_sound_is_refused() -> None:
    with pytest.raises(EncoderError, match="'dinov2' embeds image, and this is a set of clips"):
        compose("vendi:dinov2").score(torch.randn(4, 16_000), 16_000)


def test_weights_of_another_size_or_with_a_gap_are_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAGON_WEIGHTS", str(tmp_path))
    save_dinov2(tmp_path / "dinov2", width=384)
    with pytest.raises(WeightsError, match="embeddings of 384 values, and this encoder has 1024"):
        load_dinov2()
    save_siglip2(tmp_path / "siglip2", pixels=112)
    with pytest.raises(WeightsError, match="images of 112 pixels, and this encoder makes 224"):
        load_siglip2()
    copy = shutil.copytree(weights / "dinov2", tmp_path / "dinov2", dirs_exist_ok=True)
    state = Dinov2Model.from_pretrained(copy).state_dict()
    del state["layernorm.weight"]
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"lack layernorm\.weight"):
        load_dinov2()
