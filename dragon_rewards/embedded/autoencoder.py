"""The embedded autoencoder: 16 kHz mono audio <-> latents, with diffusers' VAE interface.

The codes have 64 channels at 31.25 Hz. The diffusion model sees two neighbours side by side, 128 channels at
15.6 Hz: half the sequence costs half the time and loses nothing.

Encoder and decoder are one-dimensional ConvNeXt stacks over short-time Fourier frames (as in Vocos, arXiv 2306.00814),
which a CPU can train; the decoder predicts log-magnitude and phase, and an inverse STFT makes the wave.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

N_FFT, HOP = 1024, 256  # 62.5 frames a second at 16 kHz
BINS = N_FFT // 2 + 1


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer perceptron per frame (arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(clips, width, frames) -> the same shape."""
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.contract(nn.functional.gelu(self.expand(y)))
        out: Tensor = x + y.transpose(1, 2)
        return out


@dataclass
class Latents:
    """A diagonal Gaussian over latents, (clips, channels, latent frames)."""

    mean: Tensor
    log_variance: Tensor

    def mode(self) -> Tensor:
        """The most likely latents."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + noise * (0.5 * self.log_variance).exp()


@dataclass
class EncoderOutput:
    """What `encode` returns, named as in diffusers."""

    latent_dist: Latents


@dataclass
class DecoderOutput:
    """What `decode` returns, named as in diffusers."""

    sample: Tensor


class SpectralAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """Audio (clips, 1, samples) <-> latents (clips, 128, samples / 1024), each channel at mean 0 and deviation 1."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        code_channels: int = 64,
        width: int = 256,
        sampling_rate: int = 16_000,  # noqa: ARG002  the pipeline reads it from the configuration
        audio_channels: int = 1,  # noqa: ARG002  likewise
    ) -> None:
        super().__init__()
        self.hop_length = 4 * HOP
        self.encoder = nn.Sequential(
            nn.Conv1d(3 * BINS, width, 1),
            ConvNeXtBlock(width),
            nn.Conv1d(width, width, 4, stride=2, padding=1),
            ConvNeXtBlock(width),
            ConvNeXtBlock(width),
            nn.Conv1d(width, 2 * code_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(code_channels, width, 3, padding=1),
            ConvNeXtBlock(width),
            ConvNeXtBlock(width),
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1),
            ConvNeXtBlock(width),
            ConvNeXtBlock(width),
            nn.Conv1d(width, 3 * BINS, 1),
        )
        self.register_buffer("code_mean", torch.zeros(code_channels, 1))
        self.register_buffer("code_deviation", torch.ones(code_channels, 1))
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def codes(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Audio (clips, 1, samples) -> mean and log-variance of the raw codes, (clips, 64, samples / 512)."""
        mean, log_variance = self.encoder(features(self.stft(audio[:, 0]))).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def encode(self, audio: Tensor) -> EncoderOutput:
        """Audio (clips, 1, samples) -> distribution over latents; samples beyond a multiple of 1024 are dropped."""
        mean, log_variance = self.codes(audio)
        mean = (mean - self.code_mean) / self.code_deviation
        log_variance = log_variance - 2 * self.code_deviation.log()
        return EncoderOutput(Latents(fold(mean), fold(log_variance)))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Latents (clips, 128, frames) -> audio (clips, 1, 1024 * frames)."""
        hidden = self.decoder(unfold(latents) * self.code_deviation + self.code_mean)
        log_magnitude, real, imaginary = hidden.chunk(3, dim=1)
        scale = log_magnitude.clamp(max=7.0).exp() / (real.square() + imaginary.square() + 1e-8).sqrt()
        return DecoderOutput(self.istft(torch.complex(real * scale, imaginary * scale)))

    def forward(self, audio: Tensor) -> Tensor:
        """Reconstruct audio from the most likely latents."""
        decoded: Tensor = self.decode(self.encode(audio).latent_dist.mode()).sample
        return decoded

    def stft(self, audio: Tensor) -> Tensor:
        """(clips, samples) -> complex (clips, bins, samples / 256), frames centred on their hop."""
        usable = audio[:, : audio.shape[1] // self.hop_length * self.hop_length]
        margin = (N_FFT - HOP) // 2
        padded = nn.functional.pad(usable[:, None], (margin, margin), mode="reflect")[:, 0]
        return torch.stft(padded, N_FFT, HOP, window=self.window, center=False, return_complex=True)

    def istft(self, spectrum: Tensor) -> Tensor:
        """Weighted overlap-add, the least-squares inverse of `stft` (Griffin and Lim, 1984, equation 6)."""
        frames = torch.fft.irfft(spectrum, n=N_FFT, dim=1) * self.window[:, None]
        weights = self.window.square()[:, None].expand(1, -1, spectrum.shape[2])
        wave, envelope = overlap_add(frames), overlap_add(weights)
        inside = slice((N_FFT - HOP) // 2, -(N_FFT - HOP) // 2)  # the envelope is 0 at the very edge
        return (wave[:, inside] / envelope[:, inside])[:, None]


def fold(codes: Tensor) -> Tensor:
    """(clips, c, 2 t) -> (clips, 2 c, t): neighbours in time become channels."""
    clips, channels, frames = codes.shape
    return codes.reshape(clips, channels, frames // 2, 2).transpose(2, 3).reshape(clips, 2 * channels, frames // 2)


def unfold(latents: Tensor) -> Tensor:
    """The inverse of `fold`."""
    clips, channels, frames = latents.shape
    return latents.reshape(clips, channels // 2, 2, frames).transpose(2, 3).reshape(clips, channels // 2, 2 * frames)


def overlap_add(frames: Tensor) -> Tensor:
    """(clips, 1024, frames) -> (clips, 256 * (frames - 1) + 1024), the sum of frames at their places."""
    length = HOP * (frames.shape[2] - 1) + N_FFT
    folded = nn.functional.fold(frames, (1, length), kernel_size=(1, N_FFT), stride=(1, HOP))
    return folded[:, 0, 0]


def features(spectrum: Tensor) -> Tensor:
    """Power-compressed real and imaginary parts and log-magnitude, (clips, 3 * bins, frames)."""
    magnitude = spectrum.abs()
    compressed = spectrum * (magnitude + 1e-6).pow(-0.7)
    return torch.cat([compressed.real, compressed.imag, (magnitude + 1e-2).log()], dim=1)


WEIGHTS = Path(str(files("dragon_rewards.embedded"))) / "weights" / "autoencoder"


def load_autoencoder(weights: Path = WEIGHTS) -> SpectralAutoencoder:
    """The shipped autoencoder in float32, frozen."""
    model: SpectralAutoencoder = SpectralAutoencoder.from_pretrained(weights, torch_dtype=torch.float32)
    model.eval().requires_grad_(requires_grad=False)
    return model


class VaeEncoder:
    """The autoencoder's most likely codes as frames: 64 values, 31.25 a second."""

    def __init__(self, model: SpectralAutoencoder, identity: str) -> None:
        self.model, self.identity = model, identity

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Mono 16 kHz (clips, samples) -> (clips, samples // 1024 * 2, 64)."""
        if audio.shape[1] < self.model.hop_length:
            return audio.new_zeros(len(audio), 0, self.model.config.code_channels)
        latents: Tensor = self.model.encode(audio[:, None]).latent_dist.mode()
        return unfold(latents).transpose(1, 2)


def load_encoder() -> VaeEncoder:
    """The encoder `vae`."""
    weights = (WEIGHTS / "diffusion_pytorch_model.safetensors").read_bytes()
    return VaeEncoder(load_autoencoder(), "vae-" + sha256(weights).hexdigest()[:12])
