"""Small random checkpoints of the real classes, where a user would put the released ones."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHARACTERS = string.ascii_lowercase + string.digits
WORDS = [*CHARACTERS, *(f"{character}</w>" for character in CHARACTERS)]
VOCABULARY = {word: index for index, word in enumerate([*WORDS, "<|startoftext|>", "<|endoftext|>"])}
LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TEXT = LAYERS | {
    "vocab_size": len(VOCABULARY),
    "bos_token_id": VOCABULARY["<|startoftext|>"],
    "eos_token_id": VOCABULARY["<|endoftext|>"],
    "pad_token_id": VOCABULARY["<|endoftext|>"],
}
SCHEDULERS = {"ddim": DDIMScheduler, "pndm": PNDMScheduler}


def tokenizer() -> CLIPTokenizer:
    """A tokenizer of single characters."""
    return CLIPTokenizer(vocab=VOCABULARY, merges=[], model_max_length=77)


def save_clip(folder: Path, **processing: Any) -> Path:
    """The files that the released checkpoint has, with its preprocessing except for `processing`."""
    torch.manual_seed(0)
    vision = LAYERS | {"image_size": 224, "patch_size": 56}
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=vision, projection_dim=512)).save_pretrained(folder)
    CLIPImageProcessor(**processing).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def save_stable_diffusion(folder: Path, scheduler: str, prediction: str) -> Path:
    """A pipeline of images of 16 x 16 pixels."""
    torch.manual_seed(0)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 16),
            norm_num_groups=4,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(**TEXT)),
        tokenizer=tokenizer(),
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            norm_num_groups=4,
            layers_per_block=1,
            attention_head_dim=4,
            cross_attention_dim=LAYERS["hidden_size"],
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        scheduler=SCHEDULERS[scheduler](
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            prediction_type=prediction,
            **({"skip_prk_steps": True} if scheduler == "pndm" else {"clip_sample": False}),
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that DRAGON_WEIGHTS names, with CLIP in it."""
    folder = tmp_path_factory.mktemp("weights")
    save_clip(folder / "clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAGON_WEIGHTS", str(folder))
        yield folder


@pytest.fixture(scope="session", params=[("pndm", "epsilon"), ("ddim", "v_prediction")], ids="-".join)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline: in the manner of Stable Diffusion 1, and of 2."""
    return save_stable_diffusion(tmp_path_factory.mktemp("pipeline"), *request.param)
