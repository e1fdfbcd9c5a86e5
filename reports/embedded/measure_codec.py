"""Measure an autoencoder on held-out clips: its sound, and what rewards read from music that went through it.

    python measure_codec.py WORK_DIR AUTOENCODER_DIR CLAP_DIR

The FAD of re-encoded clips from other held-out clips stands beside that of the clips themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from train_autoencoder import quality
from training import load_clips, to_float

from dragon_rewards import load_registry
from dragon_rewards.embedded.autoencoder import VaeEncoder, load_autoencoder
from dragon_rewards.embedded.clap import load_encoder
from dragon_rewards.metrics import Gaussian, frechet_distance

CLIPS, BATCH = 256, 32


def gaussian(encoder: Any, audio: torch.Tensor) -> Gaussian:
    """Fit the frames of audio, (clips, samples)."""
    return Gaussian.fit(torch.cat([encoder.encode_audio(part) for part in torch.split(audio, BATCH)]).flatten(0, 1))


@torch.no_grad()
def main(work: Path, autoencoder: Path, clap: Path) -> None:
    """Print the figures."""
    model, held, registry = load_autoencoder(autoencoder), load_clips(work, "tunebook"), load_registry()
    real, other = to_float(held[:CLIPS]), to_float(held[CLIPS : 2 * CLIPS])
    rebuilt = torch.cat([model(part[:, None])[:, 0] for part in torch.split(real, BATCH)])
    print(quality(model, held))
    encoders = {"vae": VaeEncoder(model, "measured"), "clap": load_encoder(clap)}
    for name, encoder in {**encoders, **{n: registry.build_encoder(n) for n in ("logmel", "chroma")}}.items():
        reference = gaussian(encoder, other)
        own, coded = (float(frechet_distance(gaussian(encoder, audio), reference)) for audio in (real, rebuilt))
        print(f"{name}: real {own:.4f}, re-encoded {coded:.4f}, {coded / own:.2f} times")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
