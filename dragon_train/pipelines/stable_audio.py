"""Adapt diffusers' StableAudioPipeline: EDM preconditioning with v-prediction (Karras et al., arXiv 2206.00364)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dragon_train.pipelines.columns import STABLE_AUDIO
from dragon_train.pipelines.noise import EDM
from dragon_train.pipelines.recorded import AudioPolicy

if TYPE_CHECKING:
    from diffusers import StableAudioPipeline
    from torch import Tensor, nn

    from dragon_train.pipelines.noise import Noise

LEVEL_MEAN, LEVEL_DEVIATION = -0.4, 1.4  # of log sigma, over the range in which data of deviation 1 takes shape


class StableAudioPolicy(AudioPolicy):
    """The policy over a Stable Audio pipeline; a noise level is an EDM sigma.

    Clips are as long as the transformer's `sample_size`, and so are latents, whatever is asked for: what is longer is
    cut off the audio.
    """

    columns = STABLE_AUDIO
    guidance = 7.0

    def __init__(self, pipeline: StableAudioPipeline) -> None:
        rate = int(pipeline.vae.config.sampling_rate)
        seconds = self.longest = pipeline.transformer.config.sample_size * pipeline.vae.hop_length / rate
        super().__init__(pipeline, self.process(pipeline.scheduler), rate, seconds, audio_end_in_s=seconds)

    def process(self, scheduler: Any) -> Noise:
        """Return the noise process that a model with this scheduler was trained on."""
        return EDM(scheduler, LEVEL_MEAN, LEVEL_DEVIATION)

    def decode_batch(self, latents: Tensor) -> Tensor:
        """Decode latents into audio that is cut to length, as the pipeline does."""
        return super().decode_batch(latents)[..., : round(self.seconds * self.sample_rate)]

    def decodes_by(self, autoencoder: nn.Module) -> bool:
        """Return whether this network has the weights of the pipeline's own, which decodes latents as they are.

        A saved copy of a pipeline has the same weights, another checkpoint has not, whatever it is called.
        """
        return same_weights(autoencoder, self.pipeline.vae)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks are of one class and have equal weights; their devices may differ."""
    mine, theirs = one.state_dict(), other.state_dict()
    if type(one) is not type(other) or mine.keys() != theirs.keys():
        return False
    pairs = [(value, theirs[name].to(value.device)) for name, value in mine.items()]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)
