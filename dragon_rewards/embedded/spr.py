"""The embedded encoder that learnt to predict its own future: self-predictive representations (SPR, arXiv 2007.05929).

It saw no caption and rebuilt no sound, so that it need not err where `clap` or `vae` do: a judge beside them. Only the
encoder is here. What it was trained with (transition, projection, prediction, target) is in
`reports/embedded/train_spr.py`.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from dragon_rewards.embedded.autoencoder import ConvNeXtBlock

WIDTH, DEPTH, STRIDE = 128, 4, 4
SAMPLE_RATE, N_FFT, HOP, MELS = 16_000, 1024, 256, 64
SHORTEST = N_FFT + (STRIDE - 1) * HOP  # samples of the first embedding


class CausalConv(nn.Conv1d):
    """A convolution over time that hears the present and the past; zeros stand before the first frame."""

    def forward(self, x: Tensor) -> Tensor:
        """Map features (clips, channels, frames) to as many frames."""
        return super().forward(nn.functional.pad(x, (self.kernel_size[0] - 1, 0)))


class CausalBlock(ConvNeXtBlock):
    """A ConvNeXt block whose convolution is causal."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.depthwise = CausalConv(width, width, 7, groups=width)


class EmbeddedSpr(nn.Module):
    """The encoder of audio: four causal ConvNeXt blocks over log-mel frames; `load_encoder` sets its `identity`.

    An embedding hears the 1.6 s before it, and nothing after its own four log-mel frames. A LayerNorm at the end keeps
    embeddings of one size over the steps of a prediction, as SPR does by rescaling them to [0, 1].
    """

    identity = "untrained"
    mel: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        mel = mel_filter_bank(N_FFT // 2 + 1, MELS, 30.0, 8000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
        self.register_buffer("mel", torch.from_numpy(mel).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.layers = nn.Sequential(
            nn.Conv1d(MELS, WIDTH, STRIDE, stride=STRIDE), *(CausalBlock(WIDTH) for _ in range(DEPTH))
        )
        self.norm = nn.LayerNorm(WIDTH)

    def log_mel(self, audio: Tensor) -> Tensor:
        """Return the log-mel frames (clips, 64, frames) of audio (clips, samples): -2 in silence, 62.5 a second.

        A frame hears 1024 samples of the clip and none beyond it.
        """
        spectrum = torch.stft(audio, N_FFT, HOP, window=self.window, center=False, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)
        return ((self.mel.T @ power) + 1e-6).log10() / 2 + 1

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return the embeddings (clips, frames // 4, 128) of log-mel frames (clips, 64, frames)."""
        embedded: Tensor = self.norm(self.layers(log_mel).transpose(1, 2))
        return embedded

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the embeddings (clips, frames, 128), 15.6 a second, of mono audio (clips, samples) at 16 kHz."""
        if audio.shape[1] < SHORTEST:
            return audio.new_zeros(len(audio), 0, WIDTH)
        frames: Tensor = self(self.log_mel(audio))
        return frames


WEIGHTS = Path(str(files("dragon_rewards.embedded"))) / "weights" / "spr"


def load_encoder(weights: Path = WEIGHTS) -> EmbeddedSpr:
    """Load the encoder `spr` in float32, frozen; the weights are stored as float16."""
    stored = (weights / "model.safetensors").read_bytes()
    model = EmbeddedSpr()
    model.load_state_dict(load(stored))
    model.identity = "spr-" + sha256(stored).hexdigest()[:12]
    return model.eval().requires_grad_(False)
