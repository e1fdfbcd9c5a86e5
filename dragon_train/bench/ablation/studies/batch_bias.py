"""A study of the bias of FAD: how far it is off when few clips are judged, and whether FAD-infinity mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import torch

COLUMNS = ("size", "estimator", "value", "spread", "bias", "error")


def study(
    device: torch.device,
    *,
    encoder: str = "clap",
    exemplar_set: str = "airs",
    clips: int = 768,
    sizes: Sequence[int] = (8, 16, 32, 64, 128, 256),
    draws: int = 20,
    diffusion_steps: int = 6,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate the FAD of random subsets of the untuned model's clips, of several sizes, by both estimators.

    Columns: size; estimator (`fad` or `fad-infinity`); value, its mean over the draws; spread, their standard
    deviation; bias, value less FAD-infinity of all clips; error, the root of the mean squared difference from that.
    FADs are in squared embedding units.
    """
    import pandas as pd
    import torch

    from dragon_rewards import compose
    from dragon_rewards.metrics import dataset_fad, fad_infinity
    from dragon_train.bench.ablation.material import measured, untuned_sets

    reward = compose(f"dataset-fad:{encoder}@{exemplar_set}")
    frames, reference = measured(reward, untuned_sets(1, clips, diffusion_steps, seed, device)[0])
    generator = torch.Generator().manual_seed(seed)
    truth, rows = fad_infinity(frames, reference, generator).value, []
    for size in sizes:
        drawn = [[frames[i] for i in torch.randperm(clips, generator=generator)[:size]] for _ in range(draws)]
        estimates = {
            "fad": [float(dataset_fad(few, reference)) for few in drawn],
            "fad-infinity": [fad_infinity(few, reference, generator).value for few in drawn],
        }
        for estimator, found in estimates.items():
            values = torch.tensor(found)
            figures = (values.mean(), values.std(), values.mean() - truth, (values - truth).square().mean().sqrt())
            rows.append((size, estimator, *map(float, figures)))
    return pd.DataFrame(rows, columns=list(COLUMNS))
