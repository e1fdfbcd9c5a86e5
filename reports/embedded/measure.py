"""Measure the embedded pipeline: prompt adherence by a linear probe, Fréchet distances beside real-against-real.

    python measure.py WORK_DIR

The probe sees the mean and deviation of each log-mel band, is fitted on rendered training clips and judged first on
real held-out clips: what it reaches there is the most that generations can show.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from captions import describe
from training import load_clips, to_float

from dragon_rewards import Clips, load_registry
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PROBE_CLIPS, CLIPS, SEED = 3000, 512, 16
SETTINGS = {"10 steps, no guidance": (10, 1.0), "20 steps, guidance 3": (20, 3.0)}
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
    def accuracy(self, features: Tensor, labels: Sequence[str]) -> float:
        """Share of clips whose attribute the probe names."""
        named = self.layer((features - self.mean) / self.deviation).argmax(1).tolist()
        right = [self.classes[index] == label for index, label in zip(named, labels, strict=True)]
        return round(float(sum(right) / len(right)), 3)


def gaussians(audio: Tensor) -> dict[str, Gaussian]:
    """The Gaussian of all frames in each built-in encoder."""
    registry, clips = load_registry(), Clips(audio, 16_000)
    frames = {n: clips.embeddings(registry.encoder(n), registry.build_encoder(n)).frames for n in ENCODERS}
    return {name: Gaussian.fit(torch.cat(list(parts))) for name, parts in frames.items()}


def distances(a: dict[str, Gaussian], b: dict[str, Gaussian]) -> dict[str, float]:
    """Dataset FAD in each encoder."""
    return {name: round(float(frechet_distance(a[name], b[name])), 4) for name in ENCODERS}


def main(work: Path) -> None:
    """Print the report and write denoiser_quality.json."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    clips, rows = load_clips(work, "train")
    held, held_rows = load_clips(work, "tunebook")
    names = [name for name in rows[0]["attributes"] if name != "collection"]
    features = band_statistics(to_float(clips[:PROBE_CLIPS]))
    probes = {name: Probe(features, [row["attributes"][name] for row in rows[:PROBE_CLIPS]]) for name in names}
    real, other = to_float(held[:CLIPS]), gaussians(to_float(held[CLIPS : 2 * CLIPS]))
    real_features = band_statistics(real)

    def judged(probed: Tensor) -> dict[str, float]:
        return {n: p.accuracy(probed, [r["attributes"][n] for r in held_rows[:CLIPS]]) for n, p in probes.items()}

    report: dict[str, Any] = {
        "clips": CLIPS,
        "seed": SEED,
        "real held-out clips": {"probe": judged(real_features), "fad": distances(gaussians(real), other)},
    }
    policy, texts = load_policy(), [describe(row["attributes"], rng) for row in held_rows[:CLIPS]]
    for title, (steps, guidance) in SETTINGS.items():
        audio = torch.cat(generate(policy, texts, range(CLIPS), steps, guidance).clips.media)
        report[title] = {"probe": judged(band_statistics(audio)), "fad": distances(gaussians(audio), other)}
    Path(__file__).with_name("denoiser_quality.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
