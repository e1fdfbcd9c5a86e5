"""Fit the probe of adherence (`dragon_train.embedded.adherence`) to rendered training clips, and measure it.

    python fit_adherence.py WORK_DIR

Every value of an attribute weighs alike in the fit, however common it is: a probe that answers "major" to everything
would be right for four clips of five. It is measured on real held-out clips (`tunebook`): the share of clips that it
is right about, and the mean of that share over the values, which is 1 / values for a probe that hears nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from training import load_clips, load_rows, to_float

from dragon_rewards import Clips
from dragon_train.embedded.adherence import FILE, SILENT, Probe, features
from dragon_train.embedded.words import ATTRIBUTES, WORDS

if TYPE_CHECKING:
    from torch import Tensor

CLIPS, BATCH, PENALTY, ITERATIONS, SEED = 12_000, 64, 1e-3, 200, 17


def seen(clips: Tensor) -> Tensor:
    """The features of int16 clips (clips, samples), some at a time."""
    return torch.cat([features(Clips(to_float(part), 16_000)) for part in clips.split(BATCH)])


def labels(rows: list[dict[str, Any]], name: str) -> Tensor:
    """The place of each clip's value among the values of an attribute, (clips,)."""
    values = list(WORDS[name])
    return torch.tensor([values.index(row["attributes"][name]) for row in rows])


def fit(x: Tensor, target: Tensor, values: int) -> torch.nn.Linear:
    """Multinomial logistic regression with a ridge, each value weighing alike."""
    layer = torch.nn.Linear(x.shape[1], values)
    weight = len(target) / values / torch.bincount(target, minlength=values).clamp_min(1)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=ITERATIONS)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(x), target, weight) + PENALTY * layer.weight.square().sum()
        loss.backward()
        return loss.detach()

    optimiser.step(closure)
    return layer.requires_grad_(requires_grad=False)


def accuracy(found: Tensor, target: Tensor, values: int) -> dict[str, Any]:
    """The share of clips that are right, and its mean over the values."""
    right = (found == target).double()
    each = [float(right[target == value].mean()) for value in range(values) if (target == value).any()]
    return {"right": round(float(right.mean()), 3), "mean over values": round(sum(each) / len(each), 3), "of": values}


@torch.no_grad()
def measure(probe: Probe, x: Tensor, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The accuracy of every attribute."""
    report = {}
    for name, found in probe.found(x).items():
        places = torch.tensor([list(WORDS[name]).index(value) for value in found])
        report[name] = accuracy(places, labels(rows, name), len(WORDS[name]))
    return report


def main(work: Path) -> None:
    """Fit on training clips, measure on held-out ones, store."""
    torch.manual_seed(SEED)
    rows = load_rows(work, "train")[:CLIPS]
    x = seen(load_clips(work, "train")[:CLIPS])
    mean, deviation = x.mean(0), x.std(0) + SILENT
    layers = {name: fit((x - mean) / deviation, labels(rows, name), len(WORDS[name])) for name in ATTRIBUTES}
    weight = {name: layer.weight for name, layer in layers.items()}
    Probe(mean, deviation, weight, {name: layer.bias for name, layer in layers.items()}).save(FILE)
    held = load_rows(work, "tunebook")
    report = {"clips": len(rows), "held_out_clips": len(held), "seed": SEED}
    report |= measure(Probe.load(), seen(load_clips(work, "tunebook")), held)
    Path(__file__).with_name("adherence.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
