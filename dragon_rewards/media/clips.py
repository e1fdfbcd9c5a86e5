"""Clips of audio as rewards judge them: in sets, mixed to mono, at the rate of an encoder, and refused where silent."""

from __future__ import annotations

from functools import cache
from math import ceil, gcd, inf, isnan
from typing import TYPE_CHECKING, Any

import soxr
import torch
from torch import Tensor

from dragon_rewards.compute.devices import has_float64, is_out_of_memory
from dragon_rewards.errors import AudioError, DeviceError
from dragon_rewards.media.encodable import Encodable
from dragon_rewards.protocols import AudioEncoder
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.protocols import Encoder, EncoderInfo

SILENCE, LOUDEST = 1e-4, 8.0  # peaks of a recording, full scale 1: below, nothing is heard; above, it is not in [-1, 1]
UNHEARD = 1e-5  # peak of a window, or of a clip that was generated, in which there is nothing
PASSBAND, STOPBAND = 0.913, 120.0  # of the lower Nyquist frequency, and in dB: soxr's high quality


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
        return f"{counted(len(fed), 'sample')} at {info.sample_rate} Hz"

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
            f"'{names[0]}' does not fit into the memory of {device}, with {counted(len(names) - 1, 'more clip')} "
            f"({error}); end what else uses the device, or choose another, as --device cpu does"
        ) from error


def to_mono(audio: Tensor) -> Tensor:
    """Mix audio (..., channels, samples) to mono (..., samples): return the mean of the channels.

    >>> to_mono(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    tensor([0.5000, 0.2500])
    """
    return audio.mean(-2)


def resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Resample audio (..., samples) from `source` Hz to `target` Hz: return (..., samples * target / source).

    The result is on the device of the audio. Equal rates return the audio itself. soxr resamples all clips in one call,
    in its high quality setting. It computes on the CPU and carries no gradients, so audio on another device, or audio
    that requires gradients, is resampled by a windowed sinc in torch. For signals below 0.9 of the lower Nyquist
    frequency, and except for 50 ms at both ends, the sinc is exact to 1e-6 of the peak and soxr to 1e-3.

    Raises:
        AudioError: a rate is not positive; an encoder that hears no audio has the rate 0.

    >>> resample(torch.zeros(3, 441), 44_100, 16_000).shape
    torch.Size([3, 160])
    """
    if min(source, target) <= 0:
        raise AudioError(f"audio at {source} Hz cannot be resampled to {target} Hz; name an encoder that hears audio")
    if source == target:
        return audio
    columns = audio.reshape(-1, audio.shape[-1])
    if audio.requires_grad or audio.device.type != "cpu":
        return _sinc_resample(columns, source, target).reshape(*audio.shape[:-1], -1)
    resampled = torch.from_numpy(soxr.resample(_frames(columns), source, target).T.copy())
    return resampled.reshape(*audio.shape[:-1], -1)


def _frames(clips: Tensor) -> NDArray[Any]:
    """Return clips (clips, samples) as the frames (samples, clips) that soxr takes, without a copy where it can."""
    frames = clips.T.numpy()
    # numpy 1.26 exports a single row as C-contiguous whatever its strides are, by which soxr takes it for a column per
    # clip, and refuses it ("Data not contiguous"). np.ascontiguousarray leaves such a row alone; a copy has C strides.
    return frames if len(frames) > 1 else frames.copy()


def _sinc_resample(audio: Tensor, source: int, target: int) -> Tensor:
    """Resample audio (clips, samples) as `resample` does, by one strided convolution that gives all phases."""
    up, down = target // gcd(source, target), source // gcd(source, target)
    exact = audio.to(torch.float64 if _is_rounded(audio.device) else audio.dtype)
    bank, reach = _phases(up, down, audio.device, exact.dtype)
    samples = int(audio.shape[-1] / (source / target) + 0.5)  # as soxr rounds, ties included: in floats
    padding = max(0, ceil(samples / up) - 1) * down + bank.shape[-1] - reach - audio.shape[-1]
    padded = torch.nn.functional.pad(exact, (reach, padding))[:, None]
    phases = torch.nn.functional.conv1d(padded, bank, stride=down)
    return phases.transpose(1, 2).flatten(1)[:, :samples].to(audio.dtype)


def _is_rounded(device: torch.device) -> bool:
    """Return whether float32 convolutions there may keep 10 bits of a factor (TF32), and float64 avoids that."""
    return device.type != "cpu" and has_float64(device)


@cache
def _phases(up: int, down: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return a Kaiser-windowed sinc as a filter per phase, (up, 1, taps), and the input samples that it looks back.

    Output sample q * up + p lies at input sample q * down + p * down / up: phase p weighs input sample q * down + k by
    the low-pass at p * down - k * up, in samples at `up` times the input's rate.
    """
    from scipy.signal import firwin, kaiserord

    nyquist = 1 / max(up, down)  # the lower one, as a share of that at the high rate
    count, beta = kaiserord(STOPBAND, (1 - PASSBAND) * nyquist)
    half = count // 2
    lowpass = up * firwin(2 * half + 1, (1 + PASSBAND) / 2 * nyquist, window=("kaiser", beta))
    reach = ceil(half / up)
    inputs = torch.arange(-reach, down + reach)
    taps = half + torch.arange(up)[:, None] * down - inputs * up
    inside = (taps >= 0) & (taps <= 2 * half)
    bank = torch.where(inside, torch.from_numpy(lowpass)[taps.clamp(0, 2 * half)], 0.0)[:, None]
    return bank.to(device, dtype), reach


def peak_of(audio: Tensor) -> float:
    """Return the largest absolute sample of audio; infinity where a sample is NaN."""
    lowest, highest = torch.aminmax(audio)
    peak = max(-float(lowest), float(highest))
    return inf if isnan(float(lowest)) or isnan(peak) else peak


def check_peak(peak: float, name: str) -> None:
    """Refuse a recording that no reward can judge, by its largest absolute sample.

    Args:
        peak: the largest absolute sample, full scale 1, as `peak_of` returns it.
        name: the name of the recording in error messages.

    Raises:
        AudioError: the peak is NaN or infinite; it is below 1e-4, so that the recording is silent; or it is above 8,
            far outside of [-1, 1].
    """
    check_values(peak, name, SILENCE)
    if peak > LOUDEST:
        raise AudioError(
            f"'{name}' has a peak of {peak:.5g}, and full scale is 1; if these are 16-bit samples as floats, divide "
            "them by 32768 and write the file again"
        )


def check_values(peak: float, name: str, silence: float) -> None:
    """Refuse audio in which there is nothing to judge, by its largest absolute sample.

    Args:
        peak: the largest absolute sample, full scale 1, as `peak_of` returns it.
        name: the name of the audio in error messages.
        silence: the peak below which audio is silent.

    Raises:
        AudioError: the peak is NaN or infinite, or below `silence`.
    """
    if not peak < inf:
        raise AudioError(f"'{name}' holds values that are not finite; generate or export it again")
    if peak < silence:
        raise AudioError(f"'{name}' is silent (peak {peak:.1e}); remove it")
