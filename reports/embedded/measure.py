"""Measure the embedded pipeline: prompt adherence by a linear probe, Fréchet distances beside real-against-real.

    python measure.py WORK_DIR [CLIPS]

The probe sees the mean and deviation of each log-mel band, is fitted on rendered training clips and judged first on
real held-out clips: what it reaches there is the most that generations can show. An attribute is judged where the
caption names it. `vae latents` reads the latents as they were sampled, before they are decoded.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from captions import TEMPLATES, describe, named
from training import load_clips, load_rows, to_float

from dragon_rewards import Clips, load_registry
from dragon_rewards.embedded.autoencoder import unfold
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PROBE_CLIPS, CLIPS, SEED = 3000, 512, 16
SETTINGS = {
    "8 steps, no guidance": (8, 1.0),
    "30 steps, no guidance": (30, 1.0),
    "20 steps, guidance 2": (20, 2.0),
}
ENCODERS = ("vae", "clap", "logmel", "chroma")


def band_statistics(audio: Tensor) -> Tensor:
    """Mean and deviation over time of each log-mel band, (clips, 128)."""
    encoder: Any = load_registry().build_encoder("logmel")
    frames = torch.cat([encoder.encode_audio(part) for part in torch.split(audio, 64)])
    return torch.cat([frames.mean(1), frames.std(1)], dim=1)


class Probe:
    """Multinomial logistic regression of one attribute."""

    def __init__(self, features: Tensor, labels: Sequence[str]) -> None:
        self.classes = sorted(set(labels))
        self.mean, self.deviation = features.mean(0), features.std(0)
        target = torch.tensor([self.classes.index(label) for label in labels])
        self.layer = torch.nn.Linear(features.shape[1], len(self.classes))
        optimiser = torch.optim.LBFGS(self.layer.parameters(), max_iter=200)
        x = (features - self.mean) / self.deviation

        def closure() -> float:
            optimiser.zero_grad()
            penalty = 1e-3 * self.layer.weight.square().sum()
            loss = torch.nn.functional.cross_entropy(self.layer(x), target) + penalty
            loss.backward()
            return float(loss.detach())

        optimiser.step(closure)

    @torch.no_grad()
    def right(self, features: Tensor, labels: Sequence[str]) -> Tensor:
        """Whether the probe names the attribute of each clip."""
        found = self.layer((features - self.mean) / self.deviation).argmax(1)
        right: Tensor = found == torch.tensor([self.classes.index(label) for label in labels])
        return right


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
    clips, rows = load_clips(work, "train"), load_rows(work, "train")
    held, held_rows = load_clips(work, "watch"), load_rows(work, "watch")[:count]
    names = [name for name in rows[0]["attributes"] if name != "collection"]
    features = band_statistics(to_float(clips[:PROBE_CLIPS]))
    probes = {name: Probe(features, [row["attributes"][name] for row in rows[:PROBE_CLIPS]]) for name in names}
    other = gaussians(to_float(load_clips(work, "tunebook")[:count]))
    phrasings = [rng.choice(TEMPLATES) for _ in held_rows]
    texts = [describe(row["attributes"], rng, [chosen]) for row, chosen in zip(held_rows, phrasings, strict=True)]

    def judged(audio: Tensor) -> dict[str, Any]:
        seen, adherence = band_statistics(audio), {}
        for name, probe in probes.items():
            asked = torch.tensor([name in named(chosen) for chosen in phrasings])
            right = probe.right(seen, [row["attributes"][name] for row in held_rows])
            adherence[name] = round(float(right[asked].float().mean()), 3)
        loudness = round(float(10 * audio.square().mean(1).log10().mean()), 2)
        return {"probe": adherence, "fad": distances(gaussians(audio), other), "mean_level_db": loudness}

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
