"""Two differentiable encoders without weights, for mono audio at 16 kHz: log-mel bands and pitch classes.

No frame reaches beyond its clip (no padding), so a clip's frames do not depend on its batch; a clip shorter than one
window has no frames.
"""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

SAMPLE_RATE = 16_000


def power_spectrum(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Return the power (clips, frames, bins) of audio (clips, samples); a sine of amplitude 1 has a peak of 1.

    There are 1 + (samples - n_fft) // hop frames, and none where a clip is shorter than one window.

    Args:
        audio: mono, (clips, samples).
        window: the window of one frame, (n_fft,), of sum 2.
        hop: the samples between the starts of two frames.

    >>> power_spectrum(torch.ones(1, 1024), 2 * torch.hann_window(1024) / 512, 512).shape
    torch.Size([1, 1, 513])
    """
    n_fft = len(window)
    if audio.shape[1] < n_fft:
        return audio.new_zeros(len(audio), 0, n_fft // 2 + 1)
    spectrum = torch.stft(audio, n_fft, hop, window=window, center=False, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)


def unit_window(n_fft: int) -> Tensor:
    """Return a Hann window (n_fft,) of sum 2, with which a sine of amplitude 1 has a peak of magnitude 1."""
    window = torch.hann_window(n_fft)
    return 2 * window / window.sum()


def pitch_classes(n_fft: int, lowest: float, highest: float) -> Tensor:
    """Return the weights (bins, 12) that fold the bins of an STFT onto the pitch classes C, C#, ..., B.

    A bin at f Hz is shared linearly between the two classes around its pitch, in semitones:

        pitch = 69 + 12 log2(f / 440)

    Bins outside [lowest, highest] Hz count for no class. Audio is sampled at 16 kHz.

    >>> pitch_classes(4096, 55.0, 4000.0).shape
    torch.Size([2049, 12])
    """
    frequency = torch.arange(n_fft // 2 + 1) * SAMPLE_RATE / n_fft
    semitone = 69 + 12 * (frequency.clamp_min(1) / 440).log2()
    distance = (semitone[:, None] - torch.arange(12) + 6).remainder(12) - 6
    inside = (frequency >= lowest) & (frequency <= highest)
    return (1 - distance.abs()).clamp_min(0) * inside[:, None]


def fingerprint(name: str, *parameters: object) -> str:
    """Return `name` and a short hash of the parameters; statistics made under another fingerprint are refused."""
    return f"{name}-{sha256(repr((name, *parameters)).encode()).hexdigest()[:12]}"


class LogMel(nn.Module):
    """An encoder of 64 mel bands between 30 and 7600 Hz, 31.25 frames a second.

        frame = log10(power + 1e-8) / 4 + 1

    Silence (-80 dB and below) maps to -1, a sine at full scale to about 1.
    """

    N_FFT, HOP, BANDS, LOWEST, HIGHEST, FLOOR = 1024, 512, 64, 30.0, 7600.0, 1e-8
    identity = fingerprint("logmel", 1, SAMPLE_RATE, N_FFT, HOP, BANDS, LOWEST, HIGHEST, FLOOR)

    def __init__(self) -> None:
        super().__init__()
        bank = mel_filter_bank(
            self.N_FFT // 2 + 1, self.BANDS, self.LOWEST, self.HIGHEST, SAMPLE_RATE, mel_scale="slaney"
        )
        self.bank: Tensor
        self.window: Tensor
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)
        self.register_buffer("window", unit_window(self.N_FFT), persistent=False)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the frames (clips, frames, 64) of mono audio (clips, samples) at 16 kHz."""
        power = power_spectrum(audio, self.window, self.HOP) @ self.bank
        frames: Tensor = (power + self.FLOOR).log10() / 4 + 1
        return frames


class Chroma(nn.Module):
    """An encoder of 12 pitch classes from C upwards, 15.6 frames a second; frames have unit norm, near 0 in silence.

    With the amplitude a, the root of the power between 55 and 4000 Hz, folded by octave:

        frame = a / (|a| + 1e-3)
    """

    N_FFT, HOP, LOWEST, HIGHEST, FLOOR = 4096, 1024, 55.0, 4000.0, 1e-3
    identity = fingerprint("chroma", 1, SAMPLE_RATE, N_FFT, HOP, LOWEST, HIGHEST, FLOOR)

    def __init__(self) -> None:
        super().__init__()
        self.classes: Tensor
        self.window: Tensor
        self.register_buffer("classes", pitch_classes(self.N_FFT, self.LOWEST, self.HIGHEST), persistent=False)
        self.register_buffer("window", unit_window(self.N_FFT), persistent=False)

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the frames (clips, frames, 12) of mono audio (clips, samples) at 16 kHz."""
        power = power_spectrum(audio, self.window, self.HOP) @ self.classes
        # The offset keeps the square root's gradient finite at silence.
        amplitude = (power + 1e-10).sqrt()
        frames: Tensor = amplitude / (torch.linalg.vector_norm(amplitude, dim=-1, keepdim=True) + self.FLOOR)
        return frames
