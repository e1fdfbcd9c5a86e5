"""A study of D+ before any training: each kind of reward chooses it from clips of the untuned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import torch

    from dragon_rewards.media.media import Media

COLUMNS = ("chosen_by", "per_song_fad", "dataset_fad", "vendi")


def study(
    device: torch.device,
    *,
    encoder: str = "clap",
    exemplar_set: str = "airs",
    prompts: int = 256,
    prompts_per_step: int = 32,
    diffusion_steps: int = 6,
    seed: int = 0,
) -> pd.DataFrame:
    """Choose D+ from two sets of the untuned model's clips by each kind of reward, and judge it by three metrics.

    The prompts are taken in steps, as the trainer takes them, and D+ of all steps together is judged. Every D+ has as
    many clips as there are prompts, so that their FADs compare.

    Columns: chosen_by, where `nothing` is the untuned model's first set; per_song_fad (mean), dataset_fad and vendi of
    D+ over all steps.
    """
    import pandas as pd

    from dragon_rewards import compose
    from dragon_rewards.media.media import Media
    from dragon_train.bench.ablation.material import untuned_sets

    judges = [compose(name) for name in (
        f"per-song-fad:{encoder}@{exemplar_set}", f"dataset-fad:{encoder}@{exemplar_set}", f"vendi:{encoder}",
    )]  # fmt: skip
    a, b = untuned_sets(2, prompts, diffusion_steps, seed, device)
    for reward in judges:
        for made in (a, b):
            reward.embeddings(made)
    chosen: dict[str, list[Media]] = {}
    for start in range(0, prompts, prompts_per_step):
        rows = list(range(start, min(start + prompts_per_step, prompts)))
        for how, clips in positives(a.select(rows), b.select(rows), encoder, exemplar_set, seed).items():
            chosen.setdefault(how, []).append(clips)
    united = {how: Media.concatenate(parts) for how, parts in chosen.items()}
    return pd.DataFrame(
        [(how, *(float(reward.metric(clips).mean()) for reward in judges)) for how, clips in united.items()],
        columns=list(COLUMNS),
    )


def positives(a: Media, b: Media, encoder: str, exemplar_set: str, seed: int) -> Mapping[str, Media]:
    """Return D+ of one step for each way of choosing it, and, beside these, the clips that per-song FAD rejects.

    Args:
        a: one clip for each prompt.
        b: another clip for each of the same prompts.
        encoder: of both FADs.
        exemplar_set: of both FADs.
        seed: of the choice by dataset FAD.
    """
    import torch

    from dragon_rewards import compose
    from dragon_rewards.media.media import Media
    from dragon_rewards.metrics import select_pairs, select_positive

    both, generator = Media.concatenate([a, b]), torch.Generator().manual_seed(seed)
    per_song = compose(f"per-song-fad:{encoder}@{exemplar_set}").value(both)
    by_song = select_pairs(*per_song.view(2, -1))
    value = compose(f"dataset-fad:{encoder}@{exemplar_set}").subsets(both)
    by_set = {paired: select_positive(len(a), value, paired=paired, generator=generator) for paired in (True, False)}
    return {
        "nothing": a,
        "per-song FAD": both.select(by_song.positive),
        "per-song FAD (rejected)": both.select(by_song.negative),
        "dataset FAD": both.select(by_set[True].positive),
        "dataset FAD (unpaired)": both.select(by_set[False].positive),
    }
