"""Adapt diffusers pipelines of mel spectra: AudioLDM 2, AudioLDM and MusicLDM.

AudioLDM 2 is arXiv 2308.05734, AudioLDM arXiv 2301.12503 and MusicLDM arXiv 2308.01546. All are trained as DDPM is, on
timesteps drawn uniformly.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dragon_train.pipelines.columns import SPECTROGRAM
from dragon_train.pipelines.lengths import check_seconds
from dragon_train.pipelines.noise import VariancePreserving
from dragon_train.pipelines.recorded import AudioPolicy, PaddedPolicy, Recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor


class SpectrogramPolicy(AudioPolicy):
    """The policy over a pipeline that makes mel spectra and turns them into mono sound with a vocoder.

    Latents are (clips, channels, frames, bands); a noise level is a whole timestep. Clips are as long as the denoiser's
    `sample_size`, which is what it was trained on.
    """

    component = "unet"
    inputs = ("sample", "timestep")
    columns = SPECTROGRAM

    def __init__(self, pipeline: Any, seconds: float | None = None) -> None:
        vocoder = pipeline.vocoder.config
        rate = int(vocoder.sampling_rate)
        frames = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        seconds = seconds or frames * math.prod(vocoder.upsample_rates) / rate
        check_seconds(seconds, math.inf)
        super().__init__(pipeline, VariancePreserving(pipeline.scheduler), rate, seconds, audio_length_in_s=seconds)

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode latents into mel spectra and these into sound, cut to length as the pipeline does."""
        mel = super().decode_batch(latents / self.pipeline.vae.config.scaling_factor)
        audio: Tensor = self.pipeline.vocoder(mel.squeeze(1)).float()
        return audio[:, None, : int(self.seconds * self.sample_rate)]


class AudioLDM2Policy(SpectrogramPolicy, PaddedPolicy):
    """The policy over AudioLDM 2, whose language model reads the prompt at positions that padding moves."""

    guidance = 3.5

    checkpointing = False  # diffusers 0.42.1 then passes the prompt's mask as the mask of self-attention, and fails


class AudioLDMPolicy(SpectrogramPolicy):
    """The policy over AudioLDM, which decodes whatever it is asked for: the latents are taken from its last step."""

    guidance = 2.5

    def latents(
        self, call: Callable[..., Any], prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> Tensor:
        """Call the pipeline, and return the latents of its last step, after which the call is ended."""
        made: list[Tensor] = []

        def keep(_step: int, time: Tensor, latents: Tensor) -> None:
            if time == self.pipeline.scheduler.timesteps[-1]:
                made.append(latents)
                raise Recorded

        with suppress(Recorded):
            call(**self.call_arguments(prompts, seeds, steps, guidance), callback=keep)
        return made[0]


class MusicLDMPolicy(SpectrogramPolicy):
    """The policy over MusicLDM, which is given embeddings: it fails on what transformers 5 returns for a prompt."""

    guidance = 2.0

    def call_arguments(
        self, prompts: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> dict[str, Any]:
        """Return the arguments of the pipeline's call, with embeddings in place of the prompts."""
        arguments = super().call_arguments(prompts, seeds, steps, guidance)
        negative = arguments.pop("negative_prompt", [""] * len(prompts))
        embeddings = {"prompt_embeds": self.embed(prompts), "negative_prompt_embeds": self.embed(negative)}
        return arguments | {"prompt": None} | embeddings

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts by CLAP's text encoder: (prompts, dim)."""
        tokens = self.pipeline.tokenizer(
            list(map(str, prompts)), padding="max_length", truncation=True, return_tensors="pt"
        )
        features = self.pipeline.text_encoder.get_text_features(**tokens.to(self.pipeline.device))
        embeddings: Tensor = features.pooler_output
        return embeddings
