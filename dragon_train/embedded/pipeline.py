"""Assemble the embedded pipeline from the weights in this package and in `dragon_rewards.embedded`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from diffusers import EDMDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from transformers import PreTrainedTokenizerFast, T5EncoderModel
from transformers.utils import logging

from dragon_rewards.embedded.autoencoder import WEIGHTS as AUTOENCODER
from dragon_rewards.embedded.autoencoder import SpectralAutoencoder
from dragon_train.descriptors import IN_FULL
from dragon_train.pipelines.loading import load_network, of_component
from dragon_train.pipelines.stable_audio import StableAudioPolicy

if TYPE_CHECKING:
    from dragon_train.descriptors import Loading

WEIGHTS = Path(str(files("dragon_train.embedded"))) / "weights"


def load_pipeline(loading: Loading = IN_FULL) -> StableAudioPipeline:
    """Load an unmodified StableAudioPipeline; its weights are stored as float16."""
    logging.disable_progress_bar()  # a few megabytes load in a moment
    vae = load_network(SpectralAutoencoder, AUTOENCODER, of_component("vae", loading))
    return StableAudioPipeline(
        vae=vae.requires_grad_(requires_grad=False),
        text_encoder=load_network(T5EncoderModel, WEIGHTS / "text_encoder", loading),
        projection_model=load_network(StableAudioProjectionModel, WEIGHTS / "projection_model", loading),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(WEIGHTS / "tokenizer"),
        transformer=load_network(StableAudioDiTModel, WEIGHTS / "transformer", loading),
        scheduler=EDMDPMSolverMultistepScheduler.from_pretrained(WEIGHTS / "scheduler"),
    )


def load_policy(loading: Loading = IN_FULL) -> StableAudioPolicy:
    """Load the embedded pipeline behind the trainer's adapter.

    Its clips last 5 s, and are made well in 8 steps without guidance.
    """
    policy = StableAudioPolicy(load_pipeline(loading))
    policy.batch, policy.steps, policy.guidance = 8, 8, 1.0  # a larger batch decodes more slowly on a CPU
    return policy
