"""Degrade clean clips at known severities and fit the head `aesthetics-degradation` to them.

    python fit_aesthetics.py WORK_DIR OUT.safetensors

Five kinds of damage (dragon_train/bench/ablation/damage.py). Severity s is uniform in [0, 1]; the rating is
5 - 4 s. 85% of the clips fit the head, 15% measure it (as in DRAGON, arXiv 2504.15217).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from training import load_clips, to_float

from dragon_rewards.embedded.clap import load_encoder
from dragon_rewards.reductions.aesthetics import fit_head, pool
from dragon_train.bench.ablation.damage import DAMAGES

CLIPS, FIT_SHARE, SEED = 1600, 0.85, 14


def main(work: Path, out: Path) -> None:
    """Damage clips of the training split, fit, measure, store."""
    rng = np.random.default_rng(SEED)
    clips = load_clips(work, "train")
    severity = rng.uniform(0, 1, CLIPS)
    kinds = rng.integers(0, len(DAMAGES), CLIPS)
    damaged = np.stack(
        [
            DAMAGES[kind](to_float(clip).numpy().astype(float), amount, rng).astype(np.float32)
            for clip, kind, amount in zip(clips[:CLIPS], kinds, severity, strict=True)
        ]
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
