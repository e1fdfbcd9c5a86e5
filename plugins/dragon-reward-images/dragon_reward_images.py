"""Encoders of images, for the Fréchet distances and scores that image models are compared by.

They are Inception as FID is defined on it (arXiv 1706.08500), DINOv2 as FD-DINOv2 is (arXiv 2306.04675), and SigLIP 2
(arXiv 2502.14786), which embeds text, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards import EncoderInfo, Modality, Weights, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards import Encoder

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
INCEPTION_DIM, INCEPTION_SIZE = 2048, 96_000_000  # values of the last pool, and about so many bytes of weights
DINOV2, DINOV2_DIM = "facebook/dinov2-large", 1024  # the ViT-L/14 that FD-DINOv2 is defined on
SIGLIP2, SIGLIP2_DIM = "google/siglip2-base-patch16-224", 768
NETWORK = ("config.json", "model.safetensors|pytorch_model.bin")  # in the order in which transformers looks for them
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def inception() -> Encoder:
    """Build the encoder `inception` from the user's weights."""
    from dragon_reward_images_inception import load_encoder

    return load_encoder()


def dinov2() -> Encoder:
    """Build the encoder `dinov2` from the user's weights."""
    from dragon_reward_images_transformers import load_dinov2

    return load_dinov2()


def siglip2() -> Encoder:
    """Build the encoder `siglip2` from the user's weights."""
    from dragon_reward_images_transformers import load_siglip2

    return load_siglip2()


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register the encoders `inception`, `dinov2` and `siglip2`, and the weights that they need."""
    image, text = Modality.IMAGE, Modality.TEXT
    register(
        EncoderInfo(
            name="inception",
            modalities=frozenset({image}),
            dim=INCEPTION_DIM,
            sample_rate=0,
            licence="Apache-2.0",
            summary="the Inception network of FID, TensorFlow's of 2015",
            factory=inception,
            weights=(Weights(INCEPTION_URL, (INCEPTION_FILE,), "inception", INCEPTION_SIZE, gated=False),),
        )
    )
    register(
        EncoderInfo(
            name="dinov2",
            modalities=frozenset({image}),
            dim=DINOV2_DIM,
            sample_rate=0,
            licence="Apache-2.0",
            summary="DINOv2 (ViT-L/14), for FD-DINOv2",
            factory=dinov2,
            weights=(Weights(DINOV2, NETWORK, "dinov2"),),
        )
    )
    register(
        EncoderInfo(
            name="siglip2",
            modalities=frozenset({image, text}),
            dim=SIGLIP2_DIM,
            sample_rate=0,
            licence="Apache-2.0",
            summary="SigLIP 2 (ViT-B/16): images and text as unit vectors",
            factory=siglip2,
            weights=(Weights(SIGLIP2, (*NETWORK, *TOKENIZER), "siglip2"),),
        )
    )
