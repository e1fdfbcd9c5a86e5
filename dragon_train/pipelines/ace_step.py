"""Adapt diffusers' AceStepPipeline, which is trained by flow matching (ACE-Step 1.5, arXiv 2602.00744)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from dragon_train.pipelines.columns import ACE_STEP
from dragon_train.pipelines.lengths import check_seconds
from dragon_train.pipelines.noise import FlowMatching, LogitNormal
from dragon_train.pipelines.recorded import PaddedPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import AceStepPipeline
    from torch import Tensor

SECONDS = 60.0  # the pipeline's default
PEAK = 10 ** (-1 / 20)  # -1 dB of full scale
BASE_TIMES = LogitNormal(-0.4, 1.0)  # `timestep_mu` and `timestep_sigma` of the base and SFT models
TURBO_STEPS, TURBO_SHIFT = 8, 3.0


def turbo_times(u: Tensor) -> Tensor:
    """Map uniform numbers to the times that a turbo checkpoint knows: the eight of its schedule.

    The schedule is the one of acestep/training/trainer.py in ACE-Step 1.5.
    """
    t = (TURBO_STEPS * u).ceil() / TURBO_STEPS
    return TURBO_SHIFT * t / (1 + (TURBO_SHIFT - 1) * t)


class AceStepPolicy(PaddedPolicy):
    """The policy over an ACE-Step pipeline; clips have the lyrics of their prompts, if these have some.

    Latents are (clips, frames, channels); a noise level is a time in (0, 1]. The denoiser takes a second time, which
    flow matching sets equal to the first. Guidance is distilled into turbo checkpoints, and the pipeline ignores more.
    """

    inputs = ("hidden_states", "timestep", "timestep_r")
    columns = ACE_STEP

    def __init__(self, pipeline: AceStepPipeline, seconds: float = SECONDS) -> None:
        check_seconds(seconds, math.inf)
        times = turbo_times if pipeline.is_turbo else BASE_TIMES
        noise = FlowMatching(times, pipeline.scheduler.config.num_train_timesteps)
        super().__init__(pipeline, noise, pipeline.sample_rate, seconds, audio_duration=seconds)
        self.post_trained = pipeline.is_turbo
        self.steps, self.guidance = (8, 1.0) if pipeline.is_turbo else (25, 7.0)

    def told(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return what the columns of a prompt say to the pipeline, which takes one text of each, not a list.

        A time signature is a text to it, too.
        """
        said = {name: value[0] if isinstance(value, list) else value for name, value in super().told(prompts).items()}
        return said | {name: str(value) for name, value in said.items() if name == "timesignature"}

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode latents, and bring each clip's peak to -1 dB of full scale, as the pipeline does."""
        audio = super().decode_batch(latents.transpose(1, 2)).float()
        return audio * (PEAK / audio.abs().amax((1, 2), keepdim=True).clamp(min=1e-6))
