"""Degrade clean clips at known severities and fit the head `aesthetics-degradation` to them.

    python fit_aesthetics.py WORK_DIR OUT.safetensors

Five kinds of damage: noise, detuning, clipping, dropouts, timing jitter. Severity s is uniform in [0, 1]; the rating is
5 - 4 s. 85% of the clips fit the head, 15% measure it (as in DRAGON, arXiv 2504.15217).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from training import load_clips, to_float

from dragon_rewards.aesthetics import fit_head, pool
from dragon_rewards.embedded.clap import load_encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    Audio = np.ndarray[tuple[int], np.dtype[np.float32]]

CLIPS, FIT_SHARE, SEED, SAMPLE_RATE = 1600, 0.85, 14, 16_000


def noise(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """White noise, from 50 dB below the clip to its own level."""
    level = audio.std() * 10 ** (-2.5 * (1 - severity))
    return np.asarray(audio + level * rng.standard_normal(len(audio)), np.float32)


def detuning(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """A slow wobble of pitch, up to 6% either way."""
    time = np.arange(len(audio)) / SAMPLE_RATE
    rate = rng.uniform(1.0, 3.0)
    shift = severity * 0.06 / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * time)
    return np.asarray(np.interp(time + shift, time, audio), np.float32)


def clipping(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:  # noqa: ARG001
    """Hard clipping at 100% to 3% of the peak, peak restored."""
    ceiling = np.abs(audio).max() * 0.03**severity
    return np.asarray(np.clip(audio, -ceiling, ceiling) * (np.abs(audio).max() / ceiling), np.float32)


def dropouts(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Up to 40 gaps of 40 ms."""
    damaged = audio.copy()
    for start in rng.integers(0, len(audio) - 640, round(40 * severity)):
        damaged[start : start + 640] = 0
    return damaged


def timing_jitter(audio: Audio, severity: float, rng: np.random.Generator) -> Audio:
    """Every 64 ms comes up to 100 ms early or late."""
    size = 1024
    starts = np.arange(0, len(audio) - size + 1, size)
    moved = starts + (severity * rng.uniform(-1600, 1600, len(starts))).astype(int)
    return np.concatenate([audio[s : s + size] for s in np.clip(moved, 0, len(audio) - size)])


DAMAGES: tuple[Callable[[Audio, float, np.random.Generator], Audio], ...] = (
    noise,
    detuning,
    clipping,
    dropouts,
    timing_jitter,
)


def main(work: Path, out: Path) -> None:
    """Damage clips of the training split, fit, measure, store."""
    rng = np.random.default_rng(SEED)
    clips, _ = load_clips(work, "train")
    severity = rng.uniform(0, 1, CLIPS)
    kinds = rng.integers(0, len(DAMAGES), CLIPS)
    damaged = np.stack(
        [DAMAGES[k](to_float(clips[i]).numpy(), s, rng) for i, (k, s) in enumerate(zip(kinds, severity, strict=True))]
    )
    encoder = load_encoder()
    pooled = torch.cat([pool(list(encoder.encode_audio(part))) for part in torch.from_numpy(damaged).split(50)])
    ratings = torch.from_numpy(5 - 4 * severity)
    count = int(FIT_SHARE * CLIPS)
    head = fit_head(pooled[:count], ratings[:count])
    head.save(out)
    predicted = head(pooled[count:])
    report: dict[str, Any] = {"clips": CLIPS, "seed": SEED, **agreement(predicted, ratings[count:])}
    for k, damage in enumerate(DAMAGES):
        chosen = torch.from_numpy(kinds[count:] == k)
        report[damage.__name__] = agreement(predicted[chosen], ratings[count:][chosen])
    Path(__file__).with_name("aesthetics.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def agreement(predicted: torch.Tensor, ratings: torch.Tensor) -> dict[str, float]:
    """Pearson (PLCC) and Spearman (SRCC) correlation."""
    plcc, srcc = pearsonr(predicted, ratings)[0], spearmanr(predicted, ratings)[0]
    return {"plcc": round(float(plcc), 3), "srcc": round(float(srcc), 3)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
