"""A template of a plugin: it registers an encoder and a reduction with dragon-rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards import Direction, EncoderInfo, Modality, ReductionInfo, RewardKind, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from dragon_rewards import Embeddings
    from dragon_rewards.metrics import Gaussian

SAMPLE_RATE, WINDOW, OCTAVES = 16_000, 512, 8  # Hz; samples, 32 ms; from 31 Hz to 8 kHz
FLOOR = 1e-8  # power below which nothing is heard: keeps the logarithm finite where a clip is silent


class Octaves:
    """An encoder of the level of each of eight octaves, as log10 of its power, 31.25 frames a second."""

    identity = "octaves-1"  # change it whenever the frames change: statistics of another identity are refused

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the float32 frames (clips, frames, 8) of mono audio (clips, samples) at 16 kHz."""
        import torch  # here and not above, so that `dragon list` stays fast

        power = torch.fft.rfft(audio.unfold(-1, WINDOW, WINDOW) / WINDOW).abs().square()
        levels = [power[..., 2**octave : 2 ** (octave + 1)].sum(-1) for octave in range(OCTAVES)]
        return (torch.stack(levels, dim=-1) + FLOOR).log10()


class Variation:
    """A reduction to the standard deviation of a clip's frames over time, as a mean over dimensions: a drone has 0."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002  part of the protocol
        """Return a value per clip, (clips,), in units of the embeddings."""
        import torch

        return torch.stack([frames.std(0, correction=0).mean() for frames in clips.frames])


@hookimpl
def register_encoders(register: Callable[[EncoderInfo], None]) -> None:
    """Register facts only; the factory, here the class itself, is called when a reward needs the encoder."""
    register(
        EncoderInfo(
            name="octaves",
            modalities=frozenset({Modality.AUDIO}),
            dim=OCTAVES,
            sample_rate=SAMPLE_RATE,
            licence="Apache-2.0",
            summary="levels of eight octaves",
            factory=Octaves,
        )
    )


@hookimpl
def register_reductions(register: Callable[[ReductionInfo], None]) -> None:
    """Register a reduction that works with every encoder, unless `encoders` names the ones that it is tied to."""
    register(
        ReductionInfo(
            name="variation",
            kind=RewardKind.INSTANCE,
            direction=Direction.HIGHER,
            summary="how much a clip changes in the course of time",
            factory=Variation,
        )
    )
