"""The embedded autoencoder: it maps 16 kHz mono audio to latents and back, with the interface of diffusers' VAEs.

The codes have 64 channels at 31.25 Hz. The diffusion model sees two neighbours side by side, 128 channels at 15.6 Hz:
half the sequence costs half the time and loses nothing.

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

from dragon_rewards.protocols import LATENTS_KEPT

N_FFT, HOP = 1024, 256  # 62.5 frames a second at 16 kHz
BINS = N_FFT // 2 + 1


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over time, then a two-layer perceptron per frame, with a skip (arXiv 2201.03545)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 3 * width)
        self.contract = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (clips, width, frames) to features of the same shape."""
        y = self.norm(self.depthwise(x).transpose(1, 2))
        y = self.contract(nn.functional.gelu(self.expand(y)))
        out: Tensor = x + y.transpose(1, 2)
        return out


@dataclass
class Latents:
    """A diagonal Gaussian over latents.

    Attributes:
        mean: (clips, channels, latent frames).
        log_variance: the logarithm of the variance, of the shape of the mean.
    """

    mean: Tensor
    log_variance: Tensor

    def mode(self) -> Tensor:
        """Return the most likely latents, which are the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents once from the Gaussian, (clips, channels, latent frames)."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype)
        return self.mean + noise * (0.5 * self.log_variance).exp()


@dataclass
class EncoderOutput:
    """The result of `encode`, whose field is named as in diffusers."""

    latent_dist: Latents


@dataclass
class DecoderOutput:
    """The result of `decode`, whose field is named as in diffusers: audio (clips, 1, samples)."""

    sample: Tensor


class SpectralAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers is untyped
    """A network that maps audio (clips, 1, samples) to latents (clips, 128, samples / 1024) and back.

    Each channel of the latents has mean 0 and deviation 1 over the data that it was trained on. `cycle_correlation` is
    what was measured of trained weights: the correlation of the latents of held-out music with what the encoder reads
    of the audio that they decode to. Of other weights it is not known, and 0.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        code_channels: int = 64,
        width: int = 256,
        decoder_depth: int = 2,
        sampling_rate: int = 16_000,  # noqa: ARG002  the pipeline reads it from the configuration
        audio_channels: int = 1,  # noqa: ARG002  the pipeline reads it, too
        cycle_correlation: float = 0.0,  # noqa: ARG002  the encoder reads it
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
            *(ConvNeXtBlock(width) for _ in range(decoder_depth)),
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1),
            ConvNeXtBlock(width),
            ConvNeXtBlock(width),
            nn.Conv1d(width, 3 * BINS, 1),
        )
        self.register_buffer("code_mean", torch.zeros(code_channels, 1))
        self.register_buffer("code_deviation", torch.ones(code_channels, 1))
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def codes(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the raw codes, (clips, 64, samples / 512), of audio (clips, 1, samples)."""
        mean, log_variance = self.encoder(features(self.stft(audio[:, 0]))).chunk(2, dim=1)
        return mean, log_variance.clamp(-12, 4)

    def encode(self, audio: Tensor) -> EncoderOutput:
        """Return the distribution over latents of audio (clips, 1, samples).

        Samples beyond a multiple of 1024 are dropped.
        """
        return EncoderOutput(self.latents(*self.codes(audio)))

    def latents(self, mean: Tensor, log_variance: Tensor) -> Latents:
        """Return the distribution over latents that belongs to mean and log-variance of the raw codes."""
        mean = (mean - self.code_mean) / self.code_deviation
        log_variance = log_variance - 2 * self.code_deviation.log()
        return Latents(fold(mean), fold(log_variance))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Return the audio (clips, 1, 1024 * frames) of latents (clips, 128, frames)."""
        hidden = self.decoder(unfold(latents) * self.code_deviation + self.code_mean)
        log_magnitude, real, imaginary = hidden.chunk(3, dim=1)
        scale = log_magnitude.clamp(max=7.0).exp() / (real.square() + imaginary.square() + 1e-8).sqrt()
        return DecoderOutput(self.istft(torch.complex(real * scale, imaginary * scale)))

    def forward(self, audio: Tensor) -> Tensor:
        """Reconstruct audio (clips, 1, samples) from its most likely latents."""
        decoded: Tensor = self.decode(self.encode(audio).latent_dist.mode()).sample
        return decoded

    def stft(self, audio: Tensor) -> Tensor:
        """Return the complex spectrum (clips, bins, samples / 256) of audio (clips, samples); frames are centred."""
        usable = audio[:, : audio.shape[1] // self.hop_length * self.hop_length]
        margin = (N_FFT - HOP) // 2
        padded = nn.functional.pad(usable[:, None], (margin, margin), mode="reflect")[:, 0]
        return torch.stft(padded, N_FFT, HOP, window=self.window, center=False, return_complex=True)

    def istft(self, spectrum: Tensor) -> Tensor:
        """Return the audio (clips, 1, samples) of a complex spectrum (clips, bins, frames) by weighted overlap-add.

        It is the least-squares inverse of `stft` (Griffin and Lim 1984, equation 6). Of the lowest and the highest bin
        the real parts count.
        """
        by_frame = with_real_ends(spectrum).transpose(1, 2).contiguous()  # five times faster along the last axis
        wave = overlap_add(torch.fft.irfft(by_frame, n=N_FFT) * self.window)
        envelope = overlap_add(self.window.square().expand(1, spectrum.shape[2], -1))
        inside = slice((N_FFT - HOP) // 2, -(N_FFT - HOP) // 2)  # the envelope is 0 at the very edge
        return (wave[:, inside] / envelope[:, inside])[:, None]


def fold(codes: Tensor) -> Tensor:
    """Turn neighbours in time into channels: codes (clips, c, 2 t) become latents (clips, 2 c, t)."""
    clips, channels, frames = codes.shape
    return codes.reshape(clips, channels, frames // 2, 2).transpose(2, 3).reshape(clips, 2 * channels, frames // 2)


def unfold(latents: Tensor) -> Tensor:
    """Turn latents (clips, 2 c, t) into codes (clips, c, 2 t) again: the inverse of `fold`."""
    clips, channels, frames = latents.shape
    return latents.reshape(clips, channels // 2, 2, frames).transpose(2, 3).reshape(clips, channels // 2, 2 * frames)


def with_real_ends(spectrum: Tensor) -> Tensor:
    """Return a spectrum (clips, bins, frames) without the imaginary parts of the lowest and the highest bin.

    A real signal has none. An inverse transform on the CPU leaves them out; cuFFT's makes sound of them, so that a
    network that was tuned on a card would sound otherwise on a CPU.
    """
    imaginary = nn.functional.pad(spectrum.imag[:, 1:-1], (0, 0, 1, 1))
    return torch.complex(spectrum.real, imaginary)


def overlap_add(frames: Tensor) -> Tensor:
    """Add up frames (clips, frames, 1024) at their places, 256 samples apart: (clips, 256 * (frames - 1) + 1024)."""
    clips, count, _ = frames.shape
    quarters = frames.unflatten(2, (-1, HOP))
    total = frames.new_zeros(clips, count - 1 + N_FFT // HOP, HOP)
    for index in range(N_FFT // HOP):
        total[:, index : index + count] += quarters[:, :, index]
    return total.flatten(1)


def features(spectrum: Tensor) -> Tensor:
    """Return what the encoder sees of a complex spectrum (clips, bins, frames), (clips, 3 * bins, frames).

    These are the real and imaginary parts, compressed in power, and the log-magnitude.
    """
    magnitude = spectrum.abs()
    compressed = spectrum * (magnitude + 1e-6).pow(-0.7)
    return torch.cat([compressed.real, compressed.imag, (magnitude + 1e-2).log()], dim=1)


WEIGHTS = Path(str(files("dragon_rewards.embedded"))) / "weights" / "autoencoder"


def load_autoencoder(weights: Path = WEIGHTS) -> SpectralAutoencoder:
    """Load an autoencoder in float32, frozen; by default the one that is shipped."""
    model: SpectralAutoencoder = SpectralAutoencoder.from_pretrained(weights, torch_dtype=torch.float32)
    model.eval().requires_grad_(requires_grad=False)
    return model


class VaeEncoder:
    """The encoder of audio whose frames are the autoencoder's most likely codes: 64 values, 31.25 frames a second.

    Attributes:
        autoencoder: the network.
        identity: the fingerprint of its weights.
    """

    def __init__(self, autoencoder: SpectralAutoencoder, identity: str) -> None:
        self.autoencoder, self.identity = autoencoder, identity

    def encode_audio(self, audio: Tensor) -> Tensor:
        """Return the frames (clips, samples // 1024 * 2, 64) of mono audio (clips, samples) at 16 kHz."""
        if audio.shape[1] < self.autoencoder.hop_length:
            return audio.new_zeros(len(audio), 0, self.autoencoder.config.code_channels)
        latents: Tensor = self.autoencoder.encode(audio[:, None]).latent_dist.mode()
        return self.latent_frames(latents)

    @property
    def keeps_latents(self) -> bool:
        """Whether decoded latents are read back nearly as they were, by what was measured of the weights."""
        return bool(self.autoencoder.config.cycle_correlation >= LATENTS_KEPT)

    def latent_frames(self, latents: Tensor) -> Tensor:
        """Return the frames (clips, 2 * frames, 64) of latents (clips, 128, frames), with gradient."""
        return unfold(latents).transpose(1, 2)


def load_encoder() -> VaeEncoder:
    """Load the encoder `vae` with the weights that are shipped."""
    model = load_autoencoder()
    return VaeEncoder(model, f"vae-{encoder_digest(model)}")


def encoder_digest(model: SpectralAutoencoder) -> str:
    """Return a digest of the weights that latents depend on, 12 hexadecimal digits: of all but the decoder's."""
    digest = sha256()
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("decoder."):
            digest.update(name.encode() + value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
