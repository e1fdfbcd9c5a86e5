"""Assemble the embedded pipeline from the weights in this package and in `dragon_rewards.embedded`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableAudioDiTModel, StableAudioPipeline
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from transformers import PreTrainedTokenizerFast, T5EncoderModel
from transformers.utils import logging

from dragon_rewards.embedded.autoencoder import load_autoencoder
from dragon_train.pipelines.stable_audio import StableAudioPolicy

WEIGHTS = Path(str(files("dragon_train.embedded"))) / "weights"


def load_pipeline(weights: Path = WEIGHTS) -> StableAudioPipeline:
    """An unmodified StableAudioPipeline in float32; the weights are stored as float16."""
    logging.disable_progress_bar()  # a few megabytes load in a moment
    return StableAudioPipeline(
        vae=load_autoencoder(),
        text_encoder=T5EncoderModel.from_pretrained(weights / "text_encoder", dtype=torch.float32),
        projection_model=StableAudioProjectionModel.from_pretrained(
            weights / "projection_model", torch_dtype=torch.float32
        ),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(weights / "tokenizer"),
        transformer=StableAudioDiTModel.from_pretrained(weights / "transformer", torch_dtype=torch.float32),
        scheduler=EDMDPMSolverMultistepScheduler.from_pretrained(weights / "scheduler"),
    )


def load_policy() -> StableAudioPolicy:
    """The embedded pipeline behind the trainer's adapter; its clips are of 5 s, and made well in 8 steps unguided."""
    policy = StableAudioPolicy(load_pipeline())
    policy.batch, policy.steps, policy.guidance = 8, 8, 1.0  # a larger batch decodes more slowly on a CPU
    return policy
