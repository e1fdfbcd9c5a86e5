"""Adapt diffusers' StableAudioPipeline: EDM preconditioning with v-prediction (Karras et al., arXiv 2206.00364)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_train.pipelines.noise import EDM
from dragon_train.pipelines.recorded import AudioPolicy

if TYPE_CHECKING:
    from diffusers import StableAudioPipeline

LEVEL_MEAN, LEVEL_DEVIATION = -0.4, 1.4  # of log sigma, over the range in which data of deviation 1 takes shape


class StableAudioPolicy(AudioPolicy):
    """The policy over a Stable Audio pipeline; a noise level is an EDM sigma.

    Clips are as long as the transformer's `sample_size`.
    """

    guidance = 7.0

    def __init__(self, pipeline: StableAudioPipeline) -> None:
        rate = int(pipeline.vae.config.sampling_rate)
        seconds = pipeline.transformer.config.sample_size * pipeline.vae.hop_length / rate
        noise = EDM(pipeline.scheduler, LEVEL_MEAN, LEVEL_DEVIATION)
        super().__init__(pipeline, noise, rate, seconds, audio_end_in_s=seconds)
