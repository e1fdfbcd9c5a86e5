"""Train the embedded autoencoder on the rendered clips, from the weights that ship on.

    python train_autoencoder.py WORK_DIR OUT_DIR --state STATE        # [--device cuda] [--minutes 3]

The loss of a clip x, with its latents z and its decoding y, sums four terms:

- L1 between log-magnitudes at three resolutions and squared error of the power-compressed complex spectrum of x and y;
- L1 between the complex spectra themselves, which asks for the wave, and between log-mel spectra, which asks for what
  is heard;
- |encode(decode(z')) - z'|^2 with z' = z + u n, u uniform on (0, 0.15), n normal, and no gradient to z': what was
  decoded is read back as it was, so that rewards over latents judge music and not the codec;
- a small Kullback-Leibler term that keeps latents finite.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from training import Fit, Job, asked, crops, load_clips, options, to_float
from transformers.audio_utils import mel_filter_bank

from dragon_rewards.embedded.autoencoder import SpectralAutoencoder, load_autoencoder

if TYPE_CHECKING:
    from torch import Tensor

STEPS, BATCH, CROP, SEED, RATE = 9000, 32, 32_768, 11, 4e-4
LINEAR, MEL, CYCLE, KL = 1.0, 1.0, 0.5, 1e-4  # weights of the terms
LARGEST_NOISE = 0.15  # about the error of the shipped diffusion model's latents
DEPTH = 4  # blocks of the decoder at 31.25 Hz; the weights of release 0.1 have 2
MOMENTUM = 0.01  # of the latents' mean and deviation
JUDGED = 500  # steps between two judgements on held-out clips


@cache
def window(n_fft: int, device: torch.device) -> Tensor:
    """A Hann window by which spectra of every size have one scale."""
    return torch.hann_window(n_fft, device=device) * (1024 / n_fft)


@cache
def mel_filters(device: torch.device) -> Tensor:
    """64 triangular filters over 30 Hz to 8 kHz, (513, 64)."""
    return torch.from_numpy(mel_filter_bank(513, 64, 30.0, 8000.0, 16_000)).float().to(device)


def spectrum_of(audio: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
    """STFT as (clips, bins, frames, 2) real numbers and its power, scaled alike at every resolution."""
    spectrum = torch.stft(audio, n_fft, n_fft // 4, window=window(n_fft, audio.device), return_complex=True)
    parts = torch.view_as_real(spectrum)
    return parts, parts.square().sum(-1)


def log_magnitude(power: Tensor) -> Tensor:
    """Natural logarithm of a magnitude, floored at 0.01."""
    return 0.5 * (power + 1e-4).log()


def compressed(parts: Tensor, power: Tensor) -> Tensor:
    """STFT whose magnitude is raised to the power 0.3."""
    return parts * (power + 1e-8).pow(-0.35)[..., None]


def reconstruction_loss(audio: Tensor, rebuilt: Tensor) -> Tensor:
    """What audio (clips, samples) and its reconstruction differ by: logarithms, compressed and plain spectra, mel."""
    total = audio.new_zeros(())
    for n_fft in (2048, 512):
        powers = [spectrum_of(each, n_fft)[1] for each in (audio, rebuilt)]
        total = total + (log_magnitude(powers[0]) - log_magnitude(powers[1])).abs().mean() / 3
    (parts, power), (own_parts, own_power) = spectrum_of(audio, 1024), spectrum_of(rebuilt, 1024)
    total = total + (log_magnitude(power) - log_magnitude(own_power)).abs().mean() / 3
    total = total + (compressed(parts, power) - compressed(own_parts, own_power)).square().mean()
    total = total + LINEAR * ((parts - own_parts).square().sum(-1) + 1e-10).sqrt().mean()
    mels = [log_magnitude(mel_filters(audio.device).T @ each) for each in (power, own_power)]
    return total + MEL * (mels[0] - mels[1]).abs().mean()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the latents' Gaussian from the unit Gaussian, per latent."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean()


def cycle_loss(model: SpectralAutoencoder, latents: Tensor, generator: torch.Generator) -> Tensor:
    """What latents near those of music, once decoded and encoded again, have moved by."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=latents.device)

    size = LARGEST_NOISE * torch.rand(len(latents), 1, 1, generator=generator, device=latents.device)
    asked_for = (latents + size * drawn(*latents.shape)).detach()
    return (model.encode(model.decode(asked_for).sample).latent_dist.mean - asked_for).square().mean()


def excerpts(clips: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """Random crops at a random gain, (batch, CROP)."""

    def drawn(most: int) -> Tensor:
        return torch.randint(most, (batch,), generator=generator, device=generator.device)

    audio = crops(clips, drawn(len(clips)), drawn(clips.shape[1] - CROP), CROP)
    return audio * (0.5 + 0.7 * torch.rand(batch, 1, generator=generator, device=generator.device))


@torch.no_grad()
def quality(model: SpectralAutoencoder, clips: Tensor) -> dict[str, float]:
    """Scale-invariant SDR (dB), log-spectral distance (dB) and correlation of latents read back, on 128 whole clips."""
    audio = to_float(clips[:128].to(model.device))
    latents = torch.cat([model.encode(part[:, None]).latent_dist.mode() for part in torch.split(audio, 16)])
    rebuilt = torch.cat([model.decode(part).sample[:, 0] for part in torch.split(latents, 16)])
    again = torch.cat([model.encode(part[:, None]).latent_dist.mode() for part in torch.split(rebuilt, 16)])
    scale = (audio * rebuilt).sum(1, keepdim=True) / audio.square().sum(1, keepdim=True)
    target = scale * audio
    si_sdr = 10 * torch.log10(target.square().sum(1) / (rebuilt - target).square().sum(1))
    decibels = [20 / 2.302585 * log_magnitude(spectrum_of(x, 1024)[1]) for x in (audio, rebuilt)]
    distance = (decibels[0] - decibels[1]).square().mean(dim=1).sqrt().mean()
    correlation = torch.corrcoef(torch.stack([latents.flatten(), again.flatten()]))[0, 1]
    return {
        "si_sdr_db": round(float(si_sdr.mean()), 2),
        "log_spectral_distance_db": round(float(distance), 2),
        "cycle_correlation": round(float(correlation), 3),
    }


@torch.no_grad()
def normalise(model: SpectralAutoencoder, clips: Tensor) -> None:
    """Give every channel of the latents mean 0 and deviation 1 over int16 clips, (clips, samples)."""
    parts = [model.codes(to_float(part.to(model.device))[:, None])[0] for part in torch.split(clips, 16)]
    follow(model, torch.cat(parts), 1.0)


@torch.no_grad()
def follow(model: SpectralAutoencoder, codes: Tensor, momentum: float) -> None:
    """Move each channel's mean and deviation toward those of codes, (clips, channels, frames)."""
    model.code_mean.lerp_(codes.mean(dim=(0, 2))[:, None], momentum)
    model.code_deviation.lerp_(codes.std(dim=(0, 2))[:, None], momentum)


def deepened(shipped: SpectralAutoencoder) -> SpectralAutoencoder:
    """A model with DEPTH blocks in the decoder that computes what the shipped one does: those added add nothing yet."""
    model: SpectralAutoencoder = SpectralAutoencoder(decoder_depth=DEPTH)
    more = DEPTH - shipped.config.decoder_depth
    first_new = 1 + shipped.config.decoder_depth
    for name, part in shipped.named_children():
        if name != "decoder":
            getattr(model, name).load_state_dict(part.state_dict())
    for index, part in enumerate(shipped.decoder):
        model.decoder[index + more * (index >= first_new)].load_state_dict(part.state_dict())
    for block in list(model.decoder)[first_new : first_new + more]:
        torch.nn.init.zeros_(block.get_parameter("contract.weight"))
        torch.nn.init.zeros_(block.get_parameter("contract.bias"))
    model.code_mean.copy_(shipped.code_mean)
    model.code_deviation.copy_(shipped.code_deviation)
    return model


def losses(model: SpectralAutoencoder, audio: Tensor, generator: torch.Generator) -> Tensor:
    """The loss of excerpts (clips, samples); the latents' mean and deviation follow codes that are learnt."""
    mean, log_variance = model.codes(audio[:, None])
    if mean.requires_grad:
        follow(model, mean, MOMENTUM)
    latent = model.latents(mean, log_variance)
    drawn = latent.sample(generator)
    rebuilt = model.decode(drawn).sample[:, 0]
    total = reconstruction_loss(audio, rebuilt) + KL * kl(latent.mean, latent.log_variance)
    return total + CYCLE * cycle_loss(model, drawn, generator)


def main(job: Job, *, decoder_only: bool) -> None:
    """Train, normalise, store float16 weights and the quality on held-out pieces."""
    torch.manual_seed(SEED)
    clips, held_out = load_clips(job.work, "train", job.device), load_clips(job.work, "watch")
    model = deepened(load_autoencoder()).to(job.device).train().requires_grad_(requires_grad=True)
    model.encoder.requires_grad_(not decoder_only)
    fit = Fit("decoder" if decoder_only else "autoencoder", model, job, 0.998, SEED)
    for _ in fit:
        fit.step(losses(model, excerpts(clips, job.batch, fit.generator), fit.generator))
        if fit.done % JUDGED == 0:
            fit.write(**quality(model, held_out))
    fit.swap_average()
    if not decoder_only:
        normalise(model, clips[:2048])
    model.half().save_pretrained(job.out)
    stored = SpectralAutoencoder.from_pretrained(job.out, torch_dtype=torch.float32).to(job.device)
    parameters = sum(p.numel() for p in stored.parameters())
    measured = quality(stored, held_out)
    model.register_to_config(cycle_correlation=measured["cycle_correlation"])
    model.save_config(job.out)
    fit.report(seed=SEED, clips=len(clips), parameters=parameters, **measured)


if __name__ == "__main__":
    parser = options(__doc__, STEPS, BATCH, RATE)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents, and what was trained on them")
    given = parser.parse_args()
    main(asked(given), decoder_only=given.decoder_only)
