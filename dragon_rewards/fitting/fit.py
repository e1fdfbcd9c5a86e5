"""Fit a head to ratings or to preferences, and measure by cross-validation how well such a head predicts."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dragon_rewards.encoding import EncodingJob, Files, encode_in_parts
from dragon_rewards.fitting import bradley_terry
from dragon_rewards.fitting.validation import (
    agreement,
    best_ridge,
    correlation_figure,
    log_loss,
    out_of_fold,
    pearson,
    same_side,
    spearman,
    vote_figure,
)
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

    from dragon_rewards.fitting.preferences import Preferences
    from dragon_rewards.fitting.table import Ratings
    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.reductions.aesthetics import KernelHead


@dataclass(frozen=True)
class Fitting:
    """What a head is fitted with.

    Attributes:
        name: the name of the head.
        encoder: the name of the encoder to embed the clips with.
        device: where the clips are encoded.
        cache: where embeddings are kept for the next time; None to keep none.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        seed: the seed of the folds.
    """

    name: str
    encoder: str
    device: torch.device
    cache: EmbeddingCache | None
    on_progress: Callable[[int, int], None]
    seed: int = 0

    def embedded(self, paths: tuple[Path, ...]) -> Tensor:
        """Return the pooled embeddings of audio files, (files, dim), on the CPU."""
        reward = compose(f"vendi:{self.encoder}")  # which works with every encoder of clips, and is not computed here
        steps = 2 * len(paths)
        job = EncodingJob([reward], self.device, self.cache, lambda done: self.on_progress(done, steps))
        parts = [
            (pool(reward.embeddings(clips).frames).cpu(), rows) for rows, clips in encode_in_parts(job, Files(paths))
        ]
        values, rows = zip(*parts, strict=True)
        return in_order(values, rows)

    def recorded(self, head: KernelHead, judged: Ratings | Preferences, **measured: Any) -> tuple[HeadRecord, bytes]:
        """Return the record of a head and the bytes of its file; `measured` are the fields that say how good it is."""
        tensors = {"support": head.support, "coefficients": head.coefficients, "scale": head.scale}
        content = pack_tensors(tensors, {})
        record = HeadRecord(
            name=self.name,
            encoder=self.encoder,
            identity=load_registry().build_encoder(self.encoder).identity,
            sha256=sha256(content).hexdigest(),
            table=judged.table.name,
            clips=len(judged.paths),
            answers=int(np.isfinite(judged.given).sum()),
            held_out_by=judged.held_out_by,
            held_out=int(judged.units.max()) + 1,
            raters=len(judged.raters),
            seed=self.seed,
            provenance=provenance(device=self.device, weights=load_registry().encoder(self.encoder).weights),
            **measured,
        )
        return record, content


def fit_ratings(ratings: Ratings, fitting: Fitting) -> tuple[HeadRecord, bytes]:
    """Encode the rated clips, fit a head to all of them, and measure by cross-validation how well such a head predicts.

    Returns:
        What `heads.save_head` takes: the record of the head, and the bytes of its file.

    Raises:
        AudioError: a clip is not audio, or silent.
        DragonError: the encoder failed, or embeds most clips alike.
    """
    pooled, given, units = fitting.embedded(ratings.paths), torch.from_numpy(ratings.ratings), ratings.units
    ridge = best_ridge(pooled, given, units)
    predicted = out_of_fold(pooled, given, units, fitting.seed)
    rater, in_place = agreement(ratings.levelled, predicted, spearman)
    return fitting.recorded(
        fit_head(pooled, given, ridge),
        ratings,
        fitted_to="ratings",
        figures={
            "srcc": correlation_figure(spearman, predicted, ratings.ratings, units),
            "plcc": correlation_figure(pearson, predicted, ratings.ratings, units),
        },
        rater_agreement=rater,
        head_agreement=in_place,
        ridge=ridge,
    )


def fit_preferences(preferences: Preferences, fitting: Fitting) -> tuple[HeadRecord, bytes]:
    """Encode the compared clips, fit a head to all votes, and measure how well such a head predicts others.

    Result and errors are as of `fit_ratings`.
    """
    pooled, units = fitting.embedded(preferences.paths), preferences.units
    kernel, votes = bradley_terry.kernel_of(pooled), bradley_terry.votes_of(preferences)
    ridge = bradley_terry.best_ridge(kernel, votes, units)
    predicted = bradley_terry.held_out_differences(kernel, votes, units, fitting.seed).numpy()
    leaning = preferences.given - 0.5
    rater, in_place = agreement(leaning, predicted, same_side)
    return fitting.recorded(
        bradley_terry.fit_preferences_head(pooled, votes, ridge),
        preferences,
        fitted_to="preferences",
        figures={
            name: vote_figure(measure, predicted, leaning, units[preferences.pairs], units)
            for name, measure in (("accuracy", same_side), ("log_loss", log_loss))
        },
        rater_agreement=rater,
        head_agreement=in_place,
        ridge=ridge,
    )
