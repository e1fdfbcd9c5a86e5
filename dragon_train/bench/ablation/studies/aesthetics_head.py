"""A study of an aesthetics head: which of its settings agree best with ratings that it did not see."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from dragon_rewards.media.media import Media

COLUMNS = ("chunks", "embeddings", "labels", "plcc", "srcc", "srcc_per_prompt")
FIT_SHARE = 0.85  # of the prompts (DRAGON, arXiv 2504.15217)


def study(
    device: torch.device,
    *,
    encoder: str = "clap",
    prompts: int = 160,
    versions: int = 8,
    chunks: Sequence[int] = (1, 2, 4, 8, 16),
    ridge: float = 0.1,
    diffusion_steps: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit aesthetics heads to clips of known damage, and measure how well they rate clips that they did not see.

    Each prompt has a clip of the untuned model, in several versions that are damaged at random. Their ratings follow
    from the severity, 5 for an unharmed clip and 1 for a ruined one; no human rated them. A head is fitted on the clips
    of 85% of the prompts.

    Columns: chunks, into which a clip is cut: a chunk's frames are averaged, each chunk is rated, and the ratings are
    averaged (1: all frames are averaged, as `aesthetics-degradation` does); embeddings, `plain` or of `unit` length;
    labels, normalised over `all` clips or within each `prompt`; plcc and srcc, Pearson and Spearman correlation over
    all held-out clips; srcc_per_prompt, the mean of the prompts' own.
    """
    import numpy as np
    import pandas as pd
    import torch
    from scipy.stats import spearmanr

    from dragon_rewards import load_registry
    from dragon_rewards.reductions.aesthetics import fit_head
    from dragon_train.bench.ablation.material import untuned_sets

    rng = np.random.default_rng(seed)
    severity = rng.uniform(0, 1, (prompts, versions))
    clips = versions_of(untuned_sets(1, prompts, diffusion_steps, seed, device)[0], severity, rng)
    info = load_registry().encoder(encoder)
    frames = torch.stack(list(clips.embeddings(info, load_registry().build_encoder(encoder, device)).frames)).cpu()
    ratings = torch.from_numpy(5 - 4 * severity)
    fitted, rows = int(FIT_SHARE * prompts) * versions, []
    for count, unit, labels in product(chunks, ("plain", "unit"), ("all", "prompt")):
        targets = ratings if labels == "all" else ratings - ratings.mean(1, keepdim=True) + ratings.mean()
        head = fit_head(scaled(frames.mean(1), unit)[:fitted], targets.flatten()[:fitted], ridge)
        rated = [head(scaled(part.mean(1), unit)) for part in frames[fitted:].tensor_split(count, dim=1)]
        predicted = torch.stack(rated).mean(0).view(-1, versions).numpy()
        given = ratings.numpy()[-len(predicted) :]
        own = np.mean([spearmanr(*pair).statistic for pair in zip(predicted, given, strict=True)])
        plcc = np.corrcoef(predicted.ravel(), given.ravel())[0, 1]
        srcc = spearmanr(predicted.ravel(), given.ravel()).statistic
        rows.append((count, unit, labels, plcc, srcc, own))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def versions_of(clips: Media, severity: NDArray[np.float64], rng: np.random.Generator) -> Media:
    """Damage each clip once for each severity in its row of `severity`, (prompts, versions), and return all versions.

    The result is mono; the versions of a prompt stand together, in the order of the prompts.
    """
    import torch

    from dragon_rewards.media.clips import Clips, to_mono
    from dragon_train.bench.ablation.damage import damaged

    made = [
        torch.from_numpy(damaged(to_mono(clip).cpu().numpy(), each, rng)).to(clips.device)
        for clip, row in zip(clips.media, severity, strict=True)
        for each in row
    ]
    return Clips(made, clips.sample_rate)


def scaled(embeddings: Tensor, how: str) -> Tensor:
    """Return embeddings (clips, dim) as they are (`plain`), or each scaled to length 1 (`unit`)."""
    from torch.nn.functional import normalize

    return normalize(embeddings, dim=-1) if how == "unit" else embeddings
