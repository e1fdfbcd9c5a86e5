"""Measure the embedded pipeline: adherence to prompts by a probe, Fréchet distances beside real-against-real.

    python measure.py WORK_DIR [CLIPS]

The probe is the one that ships (`dragon_train.embedded.adherence`), and is judged first on real held-out clips: what it
reaches there is the most that generations can show. An attribute is judged where the caption names it. `vae latents`
reads the latents as they were sampled, before they are decoded.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from captions import describe
from training import load_clips, load_rows, to_float

from dragon_rewards import Clips, load_registry
from dragon_rewards.embedded.autoencoder import unfold
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_train.embedded.adherence import Probe, adherence
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import generate

if TYPE_CHECKING:
    from torch import Tensor

CLIPS, SEED = 512, 16
SETTINGS = {
    "8 steps, no guidance": (8, 1.0),
    "30 steps, no guidance": (30, 1.0),
    "20 steps, guidance 2": (20, 2.0),
}
ENCODERS = ("vae", "clap", "logmel", "chroma")


def gaussians(audio: Tensor) -> dict[str, Gaussian]:
    """The Gaussian of all frames in each built-in encoder."""
    registry, clips = load_registry(), Clips(audio, 16_000)
    frames = {n: clips.embeddings(registry.encoder(n), registry.build_encoder(n)).frames for n in ENCODERS}
    return {name: Gaussian.fit(torch.cat(list(parts))) for name, parts in frames.items()}


def distances(a: dict[str, Gaussian], b: dict[str, Gaussian]) -> dict[str, float]:
    """Dataset FAD in each encoder."""
    return {name: round(float(frechet_distance(a[name], b[name])), 4) for name in ENCODERS}


def main(work: Path, count: int) -> None:
    """Print the report and write denoiser_quality.json."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    held, probe = load_clips(work, "watch"), Probe.load()
    other = gaussians(to_float(load_clips(work, "tunebook")[:count]))
    texts = [describe(row["attributes"], rng) for row in load_rows(work, "watch")[:count]]

    def judged(audio: Tensor) -> dict[str, Any]:
        shares = {name: round(share, 3) for name, share in adherence(Clips(audio, 16_000, texts), probe).items()}
        loudness = round(float(10 * audio.square().mean(1).log10().mean()), 2)
        return {"probe": shares, "fad": distances(gaussians(audio), other), "mean_level_db": loudness}

    report: dict[str, Any] = {"clips": count, "seed": SEED, "real held-out clips": judged(to_float(held[:count]))}
    policy = load_policy()
    for title, (steps, guidance) in SETTINGS.items():
        made = generate(policy, texts, range(count), steps, guidance)
        report[title] = judged(torch.cat([clip.view(1, -1) for clip in made.clips.media]))
        frames = unfold(made.latents).transpose(1, 2).flatten(0, 1)
        own = frechet_distance(Gaussian.fit(frames), other["vae"])
        report[title]["fad"]["vae latents"] = round(float(own), 4)
        print(title, report[title], flush=True)
    Path(__file__).with_name("denoiser_quality.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else CLIPS)
