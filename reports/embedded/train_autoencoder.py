"""Train the embedded autoencoder on the rendered clips.

    python train_autoencoder.py WORK_DIR OUT_DIR

Loss: L1 between log-magnitudes at three resolutions, squared error of the power-compressed complex spectrum, and a
small Kullback-Leibler term that keeps the latents near a unit Gaussian.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from training import Fit, load_clips, to_float

from dragon_rewards.embedded.autoencoder import SpectralAutoencoder

STEPS, BATCH, CROP, SEED = 3600, 8, 32_768, 11
KL_WEIGHT = 1e-4


def spectrum_of(audio: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
    """STFT as (clips, bins, frames, 2) real numbers and its power, scaled alike at every resolution."""
    window = torch.hann_window(n_fft) * (1024 / n_fft)
    parts = torch.view_as_real(torch.stft(audio, n_fft, n_fft // 4, window=window, return_complex=True))
    return parts, parts.square().sum(-1)


def log_magnitude(audio: Tensor, n_fft: int) -> Tensor:
    """Natural logarithm of the STFT magnitude, floored at 0.01."""
    return 0.5 * (spectrum_of(audio, n_fft)[1] + 1e-4).log()


def compressed(audio: Tensor) -> Tensor:
    """STFT whose magnitude is raised to the power 0.3."""
    parts, power = spectrum_of(audio, 1024)
    return parts * (power + 1e-8).pow(-0.35)[..., None]


def reconstruction_loss(audio: Tensor, rebuilt: Tensor) -> Tensor:
    """Log-magnitude L1 at three resolutions plus squared error of the compressed complex spectrum."""
    logs = [(log_magnitude(audio, n) - log_magnitude(rebuilt, n)).abs().mean() for n in (2048, 1024, 512)]
    return sum(logs, audio.new_zeros(())) / 3 + (compressed(audio) - compressed(rebuilt)).square().mean()


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of the latents' Gaussian from the unit Gaussian, per latent."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).mean()


def crops(clips: Any, rng: np.random.Generator) -> Tensor:
    """Random crops at a random gain, (BATCH, 1, CROP)."""
    rows, starts = rng.integers(0, len(clips), BATCH), rng.integers(0, clips.shape[1] - CROP, BATCH)
    audio = to_float(np.stack([clips[r, s : s + CROP] for r, s in zip(rows, starts, strict=True)]))
    gain = torch.from_numpy(rng.uniform(0.5, 1.2, (BATCH, 1)).astype(np.float32))
    return (audio * gain)[:, None]


@torch.no_grad()
def quality(model: SpectralAutoencoder, clips: Any) -> dict[str, float]:
    """Scale-invariant SDR (dB) and log-spectral distance (dB) on 128 whole held-out clips."""
    audio = to_float(clips[:128])
    rebuilt = torch.cat([model(part[:, None])[:, 0] for part in audio.split(16)])
    scale = (audio * rebuilt).sum(1, keepdim=True) / audio.square().sum(1, keepdim=True)
    target = scale * audio
    si_sdr = 10 * torch.log10(target.square().sum(1) / (rebuilt - target).square().sum(1))
    log_a, log_b = (log_magnitude(x, 1024) * 20 / np.log(10) for x in (audio, rebuilt))
    lsd = (log_a - log_b).square().mean(dim=1).sqrt().mean()
    return {"si_sdr_db": round(float(si_sdr.mean()), 2), "log_spectral_distance_db": round(float(lsd), 2)}


@torch.no_grad()
def normalise(model: SpectralAutoencoder, clips: Any) -> None:
    """Give every channel mean 0 and deviation 1 over 256 training clips."""
    audio = to_float(clips[:256])
    codes = torch.cat([model.codes(part[:, None])[0] for part in audio.split(16)])
    model.code_mean.copy_(codes.mean(dim=(0, 2))[:, None])
    model.code_deviation.copy_(codes.std(dim=(0, 2))[:, None])


def main(work: Path, out: Path) -> None:
    """Train, normalise, store float16 weights and the quality on held-out pieces."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    clips, _ = load_clips(work, "train")
    held_out, _ = load_clips(work, "tunebook")
    model = SpectralAutoencoder()
    fit = Fit(model, STEPS, 1e-3, Path(__file__).with_name("autoencoder_log.jsonl"))
    for _ in range(STEPS):
        audio = crops(clips, rng)
        latent = model.encode(audio).latent_dist
        rebuilt = model.decode(latent.sample()).sample
        fit.step(reconstruction_loss(audio[:, 0], rebuilt[:, 0]) + KL_WEIGHT * kl(latent.mean, latent.log_variance))
        if fit.done % 500 == 0:
            print(quality(model, held_out), flush=True)
    fit.swap_average()
    normalise(model, clips)
    model.half().save_pretrained(out)
    stored = SpectralAutoencoder.from_pretrained(out, torch_dtype=torch.float32)
    report = {"steps": STEPS, "seed": SEED, "minutes": round(fit.elapsed / 60, 1), **quality(stored, held_out)}
    report["parameters"] = sum(p.numel() for p in stored.parameters())
    Path(__file__).with_name("autoencoder.json").write_text(json.dumps(report, indent=2) + "\n")
    print(report)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
