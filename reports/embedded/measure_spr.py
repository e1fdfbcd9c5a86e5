"""Measure the encoder `spr` beside a network that learnt nothing and the mean of the log-mel frames it hears.

    python measure_spr.py WORK_DIR

A probe, a logistic regression for each attribute as in fit_adherence.py, sees the mean embedding of training clips and
is judged on `tunebook`; `collection` is left out. The Fréchet distance of the frames of two halves of `tunebook` is
beside their distances from as many clips of `airs`. Writes spr_quality.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fit_adherence import accuracy, fit, labels
from train_spr import log_mels
from training import load_clips, load_rows

from dragon_rewards.embedded.spr import EmbeddedSpr, load_encoder
from dragon_rewards.metrics import Gaussian, frechet_distance
from dragon_train.embedded.words import ATTRIBUTES, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CLIPS, BATCH, SEED = 2048, 64, 19


@torch.no_grad()
def frames_of(encode: Callable[[Tensor], Tensor], log_mel: Tensor) -> Tensor:
    """The frames (clips, frames, dim) of log-mel frames (clips, 64, frames), some at a time."""
    return torch.cat([encode(part.float()) for part in log_mel.split(BATCH)])


def probed(seen: Tensor, held: Tensor, rows: list[dict[str, Any]], held_rows: list[dict[str, Any]]) -> dict[str, float]:
    """The share of held-out clips that a probe of mean embeddings (clips, dim) is right about, by attribute."""
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    found = {}
    for name in ATTRIBUTES:
        values = len(WORDS[name])
        layer = fit((seen - mean) / deviation, labels(rows, name), values)
        answers = layer((held - mean) / deviation).argmax(1)
        found[name] = accuracy(answers, labels(held_rows, name), values)["right"]
    return found


def halves_apart(tunebook: Tensor, airs: Tensor) -> dict[str, float]:
    """Fréchet distances of frames (clips, frames, dim): between halves of the first, and from half of the second."""
    first, second, other = (Gaussian.fit(part.flatten(0, 1)) for part in (tunebook[::2], tunebook[1::2], airs[::2]))
    away = (frechet_distance(first, other) + frechet_distance(second, other)) / 2
    between = float(frechet_distance(first, second))
    return {"halves": round(between, 4), "airs": round(float(away), 4), "ratio": round(float(away) / between, 1)}


def main(work: Path) -> None:
    """Measure, and write the report."""
    torch.manual_seed(SEED)
    trained, untrained = load_encoder(), EmbeddedSpr().eval()
    rows, held_rows = load_rows(work, "train")[:CLIPS], load_rows(work, "tunebook")
    splits = ("train", CLIPS), ("tunebook", None), ("airs", None)
    train, held, airs = (log_mels(trained, load_clips(work, split)[:count]) for split, count in splits)
    encoders: dict[str, Callable[[Tensor], Tensor]] = {
        "spr": trained,
        "untrained": untrained,
        "log-mel": lambda log_mel: log_mel.transpose(1, 2),
    }
    report: dict[str, Any] = {"clips": CLIPS, "held_out_clips": len(held), "seed": SEED, "right": {}, "fad": {}}
    for name, encode in encoders.items():
        known = frames_of(encode, held)
        report["right"][name] = probed(frames_of(encode, train).mean(1), known.mean(1), rows, held_rows)
        report["fad"][name] = halves_apart(known, frames_of(encode, airs))
        print(name, report["right"][name], report["fad"][name], flush=True)
    Path(__file__).with_name("spr_quality.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
