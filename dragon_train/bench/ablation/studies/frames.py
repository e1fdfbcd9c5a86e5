"""A study of per-song FAD: what it is worth when it sees only some of a clip's frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import torch

COLUMNS = ("frames", "fad", "bias", "spearman", "agreement", "worth")


def study(
    device: torch.device,
    *,
    encoder: str = "clap",
    exemplar_set: str = "airs",
    clips: int = 256,
    counts: Sequence[int] = (2, 4, 8, 16, 32),
    diffusion_steps: int = 6,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare per-song FAD from a few random frames of each clip with per-song FAD from all frames.

    The clips are two sets of the untuned model's, for the same prompts.

    Columns: frames, how many of each clip; fad, the mean of per-song FAD from them; bias, that less the mean with all
    frames; spearman, the rank correlation of the clips with all frames; agreement, the share of prompts whose better
    clip is the same; worth, how much of the gain in full per-song FAD from choosing by all frames is had by choosing by
    these: 1 is all, 0 what choosing blindly gives.

    Raises:
        ConfigError: a clip has fewer frames than the largest of `counts`.
    """
    import pandas as pd
    import torch
    from scipy.stats import spearmanr

    from dragon_rewards import compose
    from dragon_rewards.errors import ConfigError
    from dragon_rewards.media.media import Media
    from dragon_rewards.metrics import per_song_fad
    from dragon_train.bench.ablation.material import measured, untuned_sets

    reward = compose(f"per-song-fad:{encoder}@{exemplar_set}")
    frames, reference = measured(reward, Media.concatenate(untuned_sets(2, clips, diffusion_steps, seed, device)))
    if max(counts) > min(map(len, frames)):
        raise ConfigError(f"counts = {list(counts)}: encoder '{encoder}' gives {min(map(len, frames))} frames a clip")
    generator = torch.Generator().manual_seed(seed)
    full = per_song_fad(frames, reference).view(2, clips)
    rows = []
    for count in counts:
        few = [clip[torch.randperm(len(clip), generator=generator)[:count]] for clip in frames]
        found = per_song_fad(few, reference).view(2, clips)
        chosen, best = found.argmin(0), full.argmin(0)
        gains = [full.mean() - full.gather(0, choice[None]).mean() for choice in (chosen, best)]
        ranks = float(spearmanr(found.flatten(), full.flatten()).statistic)
        figures = (found.mean(), (found - full).mean(), (chosen == best).double().mean(), gains[0] / gains[1])
        fad, bias, agreement, worth = map(float, figures)
        rows.append((count, fad, bias, ranks, agreement, worth))
    return pd.DataFrame(rows, columns=list(COLUMNS))
