"""Adapt diffusers' LongCatAudioDiTPipeline: conditional flow matching (LongCat-AudioDiT, arXiv 2603.29339)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_train.pipelines.columns import LONGCAT_AUDIO
from dragon_train.pipelines.lengths import check_seconds
from dragon_train.pipelines.noise import FlowMatching, uniform
from dragon_train.pipelines.recorded import PaddedPolicy

if TYPE_CHECKING:
    from diffusers import LongCatAudioDiTPipeline
    from torch import Tensor

SECONDS = 5.0  # of the pipeline's example; it would guess a length from the prompt's


class LongCatAudioPolicy(PaddedPolicy):
    """The policy over a LongCat-AudioDiT pipeline.

    Latents are (clips, frames, channels); a noise level is a time in (0, 1), which the network counts from noise. Times
    are uniform, as conditional flow matching defines its loss (arXiv 2210.02747, equation 9).
    """

    columns = LONGCAT_AUDIO
    steps, guidance = 16, 4.0

    def __init__(self, pipeline: LongCatAudioDiTPipeline, seconds: float = SECONDS) -> None:
        self.longest = pipeline.max_wav_duration
        check_seconds(seconds, self.longest)
        noise = FlowMatching(uniform, from_noise=pipeline.scheduler.config.invert_sigmas)
        super().__init__(pipeline, noise, pipeline.sample_rate, seconds, audio_duration_s=seconds)

    def calls_per_step(self, guidance: float) -> int:
        """Return how often the denoiser is called in a diffusion step: with guidance once more, without the prompt."""
        return 2 if guidance > 1 else 1

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode latents by the autoencoder, which takes (clips, channels, frames)."""
        return super().decode_batch(latents.transpose(1, 2))
