"""Sets of clips of audio that audio encoders embed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.compute.devices import is_out_of_memory
from dragon_rewards.errors import AudioError, DeviceError
from dragon_rewards.media.audio import UNHEARD, check_values, resample, to_mono
from dragon_rewards.media.encodable import Encodable
from dragon_rewards.protocols import AudioEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.protocols import Encoder, EncoderInfo


class Clips(Encodable):
    """A set of clips of audio at one sample rate, with their prompts and names.

    Attributes:
        media: per clip a float32 tensor (channels, samples); clips may differ in channels and length.
        sample_rate: in Hz, of every clip.
        prompts: one text per clip, or None.
        names: one name per clip, which error messages use.
        known: the embeddings computed so far.
        cache: where embeddings are looked up before they are computed, and stored after; None for clips that are new.
    """

    noun = "clip"
    short = "shorter"
    refusal = AudioError

    def __init__(
        self,
        audio: Tensor | Sequence[Tensor],
        sample_rate: int,
        prompts: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """Take audio (clips, samples), (clips, channels, samples), or a sequence of (samples,) or (channels, samples).

        Raises:
            AudioError: there are no clips; a clip has another shape or type, is empty, not finite or silent; the count
                of prompts or of names is not the count of clips; or the sample rate is not a positive whole number.
        """
        if not isinstance(sample_rate, int) or sample_rate <= 0:
            raise AudioError(f"a sample rate is a positive whole number of Hz, not {sample_rate!r}")
        super().__init__(audio, sample_rate, prompts, names, cache)

    @property
    def audio(self) -> tuple[Tensor, ...]:
        """The audio of every clip, each a float32 tensor (channels, samples)."""
        return self.media

    def _laid_out(self, example: Tensor, name: str) -> Tensor:
        if not example.is_floating_point() or example.ndim not in {1, 2}:
            got = f"{example.dtype} {tuple(example.shape)}"
            raise AudioError(f"'{name}' is {got}; give floating point audio (samples,) or (channels, samples)")
        if not example.numel():
            raise AudioError(f"'{name}' holds no samples; remove it or record it again")
        return (example if example.ndim > 1 else example[None]).float()

    def _extremes(self, batch: Tensor) -> Tensor:
        # Encoders hear the mono mix, which is silent where channels cancel out.
        return to_mono(batch).abs().amax(-1)

    def _check_values(self, extremes: float, name: str) -> None:
        check_values(extremes, name, UNHEARD)

    def _tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor] | None:
        return encoder.encode_audio if isinstance(encoder, AudioEncoder) else None

    def _fed(self, batch: Tensor, info: EncoderInfo) -> Tensor:
        return resample(to_mono(batch), self.sample_rate, info.sample_rate)

    def _size(self, fed: Tensor, info: EncoderInfo) -> str:
        return f"{len(fed)} samples at {info.sample_rate} Hz"

    def _extent(self, example: Tensor) -> str:
        return f"{example.shape[-1] / self.sample_rate:.4g} s"


def clips_on(
    device: torch.device,
    audio: Sequence[Tensor],
    rate: int,
    names: Sequence[str],
    prompts: Sequence[str] | None,
    cache: EmbeddingCache | None,
) -> Clips:
    """Make a set of clips on a device from mono audio; all audio that comes from files moves to its device here.

    Args:
        device: where the clips are to be.
        audio: the samples of each clip, (samples,).
        rate: the sample rate of all clips in Hz.
        names: one name per clip.
        prompts: one text per clip, or None.
        cache: where embeddings are stored, or None.

    Raises:
        AudioError: no reward can judge a clip.
        DeviceError: the memory of the device is too small.
    """
    try:
        return Clips([clip.to(device) for clip in audio], rate, prompts, names, cache)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"'{names[0]}' does not fit into the memory of {device}, with {len(names) - 1} more clips ({error}); end "
            "what else uses the device, or choose another, as --device cpu does"
        ) from error
