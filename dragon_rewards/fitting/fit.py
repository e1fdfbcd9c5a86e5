"""Fit an aesthetics head to a table of ratings, and measure it by cross-validation."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import torch

from dragon_rewards.encoding import EncodingJob, Files, encode_in_parts
from dragon_rewards.fitting.validation import agreement, best_ridge, out_of_fold, pearson, spearman, with_interval
from dragon_rewards.heads import HeadRecord
from dragon_rewards.metrics.frames import in_order
from dragon_rewards.provenance import provenance
from dragon_rewards.reductions.aesthetics import fit_head, pool
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose
from dragon_rewards.storage.tensor_files import pack_tensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.fitting.table import Ratings
    from dragon_rewards.media.cache import EmbeddingCache


def fit_ratings(
    ratings: Ratings,
    name: str,
    encoder: str,
    device: torch.device,
    cache: EmbeddingCache | None,
    on_progress: Callable[[int, int], None],
    seed: int = 0,
) -> tuple[HeadRecord, bytes]:
    """Encode the rated clips, fit a head to all of them, and measure by cross-validation how well such a head predicts.

    Args:
        ratings: the ratings and their clips.
        name: the name of the head.
        encoder: the name of the encoder to embed the clips with.
        device: where the clips are encoded.
        cache: where embeddings are kept for the next time; None to keep none.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        seed: the seed of the folds.

    Returns:
        What `heads.save_head` takes: the record of the head, and the bytes of its file.

    Raises:
        AudioError: a clip is not audio, or silent.
        DragonError: the encoder failed, or embeds most clips alike.
    """
    pooled = embedded(ratings.paths, encoder, device, cache, on_progress)
    given = torch.from_numpy(ratings.ratings)
    ridge = best_ridge(pooled, given, ratings.units)
    head = fit_head(pooled, given, ridge)
    tensors = {"support": head.support, "coefficients": head.coefficients, "scale": head.scale}
    content = pack_tensors(tensors, {})
    predicted = out_of_fold(pooled, given, ratings.units, seed)
    rater, in_place = agreement(ratings.levelled, predicted)
    record = HeadRecord(
        name=name,
        encoder=encoder,
        identity=load_registry().build_encoder(encoder).identity,
        sha256=sha256(content).hexdigest(),
        table=ratings.table.name,
        clips=len(ratings.paths),
        held_out_by=ratings.held_out_by,
        held_out=int(ratings.units.max()) + 1,
        raters=len(ratings.raters),
        plcc=with_interval(pearson, predicted, ratings.ratings, ratings.units),
        srcc=with_interval(spearman, predicted, ratings.ratings, ratings.units),
        rater_srcc=rater,
        head_srcc=in_place,
        ridge=ridge,
        seed=seed,
        provenance=provenance(device=device, weights=load_registry().encoder(encoder).weights),
    )
    return record, content


def embedded(
    paths: tuple[Path, ...],
    encoder: str,
    device: torch.device,
    cache: EmbeddingCache | None,
    on_progress: Callable[[int, int], None],
) -> Tensor:
    """Return the pooled embeddings of audio files, (files, dim), on the CPU; arguments are as in `fit_ratings`."""
    reward = compose(f"vendi:{encoder}")  # which works with every encoder of clips, and is not computed here
    steps = 2 * len(paths)
    job = EncodingJob([reward], device, cache, lambda done: on_progress(done, steps))
    parts = [(pool(reward.embeddings(clips).frames).cpu(), rows) for rows, clips in encode_in_parts(job, Files(paths))]
    values, rows = zip(*parts, strict=True)
    return in_order(values, rows)
