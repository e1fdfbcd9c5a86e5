"""Stable Diffusion (arXiv 2112.10752) for the trainer, and CLIP (arXiv 2103.00020) for the rewards of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, Weights
from dragon_rewards import hookimpl as rewards_hookimpl
from dragon_train import AdapterInfo
from dragon_train import hookimpl as train_hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards import Encoder, Reduction
    from dragon_train import Policy

REPOSITORY, DIM = "openai/clip-vit-base-patch32", 512  # values, of -patch16 too
CONFIGURATION = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which transformers looks for them
COLUMNS = ("negative_prompt",)  # of a table of prompts
FILES = (*CONFIGURATION, "|".join(WEIGHTS))


def clip() -> Encoder:
    """Build the encoder `clip` from the user's weights."""
    from dragon_stable_diffusion_clip import load_encoder

    return load_encoder("clip", DIM)


def clip_score() -> Reduction:
    """Build the reduction to the cosine of an image with its prompt."""
    from dragon_rewards.reductions import ClapScore

    return ClapScore()


def stable_diffusion(pipeline: Any) -> Policy:
    """Adapt a StableDiffusionPipeline so that the trainer can tune it."""
    from dragon_stable_diffusion_policy import StableDiffusionPolicy

    return StableDiffusionPolicy(pipeline)


def stable_diffusion_3(pipeline: Any) -> Policy:
    """Adapt a StableDiffusion3Pipeline so that the trainer can tune it."""
    from dragon_stable_diffusion_policy import StableDiffusion3Policy

    return StableDiffusion3Policy(pipeline)


@rewards_hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoder `clip`, which embeds images and text."""
    register(
        EncoderInfo(
            name="clip",
            modalities=frozenset({Modality.IMAGE, Modality.TEXT}),
            dim=DIM,
            sample_rate=0,
            licence="MIT",
            summary="OpenAI CLIP (ViT-B/32): images and text as unit vectors",
            factory=clip,
            weights=(Weights(REPOSITORY, FILES, "clip"),),
        )
    )


@rewards_hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register the CLIP score: what `clap-score` computes, under its name in the world of images (arXiv 2104.08718)."""
    register(
        ReductionInfo(
            name="clip-score",
            kind=RewardKind.INSTANCE,
            direction=Direction.HIGHER,
            summary="cosine of an image with its prompt",
            factory=clip_score,
            needs_prompts=True,
            encoders=frozenset({"clip", "siglip2"}),
        )
    )


@train_hookimpl
def register_adapters(register: Callable[[AdapterInfo], None]) -> None:
    """Register the adapters of Stable Diffusion 1 and 2, and of Stable Diffusion 3."""
    register(
        AdapterInfo(
            "stable-diffusion",
            "StableDiffusionPipeline",
            "images; the process of DDPM, in the prediction that its scheduler names",
            stable_diffusion,
            COLUMNS,
        )
    )
    register(
        AdapterInfo(
            "stable-diffusion-3",
            "StableDiffusion3Pipeline",
            "images; rectified flow",
            stable_diffusion_3,
            COLUMNS,
        )
    )
