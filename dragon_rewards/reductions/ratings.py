"""Fit an aesthetics head on a table of ratings: `path, rating[, prompt]`, paths relative to the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import pearsonr, spearmanr

from dragon_rewards.errors import ConfigError, TableError
from dragon_rewards.media.audio import read_mono, resample
from dragon_rewards.media.clips import Clips
from dragon_rewards.reductions.aesthetics import KernelHead, fit_head, pool
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.table_files import PATH, RATING, TEXT, Row, Table, read_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

FIT_SHARE = 0.85  # of the clips; the rest measure the head (DRAGON, arXiv 2504.15217)
FEWEST = 20  # ratings, below which 15% are too few to measure anything


@dataclass(frozen=True)
class FittedHead:
    """A head and how well it agrees with ratings that it did not see.

    Attributes:
        head: to be stored with `head.save` and registered as an `Aesthetics` reduction tied to `encoder`.
        encoder: name of the encoder in whose space it lives.
        plcc: Pearson correlation over all held-out clips.
        srcc: Spearman correlation: the mean over prompts of at least three held-out clips where the table has
            prompts, over all held-out clips otherwise; NaN if no prompt has three.
    """

    head: KernelHead
    encoder: str
    plcc: float
    srcc: float


def fit_ratings(table: Path, encoder: str, seed: int = 0) -> FittedHead:
    """Read and encode the rated clips, fit on a random 85%, measure on the rest.

    Raises:
        TableError: the table cannot be read, lacks a column, or holds a rating that is no number, or a path twice.
        ConfigError: it has fewer than 20 rows.
        AudioError: a clip is missing, not audio, or silent.
        UnknownNameError: no encoder of this name is registered.
    """
    info = load_registry().encoder(encoder)
    rows = read_ratings(table)
    audio = [resample(*read_mono(table.parent / path), info.sample_rate) for path in rows["path"]]
    clips = Clips(audio, info.sample_rate, names=[str(path) for path in rows["path"]])
    pooled = pool(clips.embeddings(info, load_registry().build_encoder(encoder)).frames)
    return fit_split(pooled, rows, encoder, seed)


def read_ratings(table: Path) -> pd.DataFrame:
    """The checked table: `path`, `rating`, and `prompt` where it has a column of prompts; raises as `fit_ratings`."""
    found = read_table(table)
    found.require(PATH, RATING)
    rows = list(found.by_path().values())
    if len(rows) < FEWEST:
        raise ConfigError(f"'{table}' has {len(rows)} ratings; rate at least {FEWEST} clips")
    columns: dict[str, list[Any]] = {
        "path": [found.text(row, PATH) for row in rows],
        "rating": [_rating(found, row) for row in rows],
    }
    return pd.DataFrame(columns | ({"prompt": [found.text(row) for row in rows]} if found.has(TEXT) else {}))


def _rating(table: Table, row: Row) -> float:
    rating = table.number(row, RATING)
    if rating is None:
        raise TableError(f"{table.where(row)}: no rating; rate '{table.text(row, PATH)}', or remove the row")
    return float(rating)


def fit_split(pooled: Tensor, rows: pd.DataFrame, encoder: str, seed: int) -> FittedHead:
    """Fit on 85% of the rows, measure on the others."""
    order = np.random.default_rng(seed).permutation(len(rows))
    fitted, held = np.split(order, [int(FIT_SHARE * len(rows))])
    ratings = torch.tensor(rows["rating"].to_numpy())
    head = fit_head(pooled[fitted], ratings[fitted])
    judged = rows.iloc[held].assign(predicted=head(pooled[held]).numpy())
    return FittedHead(head, encoder, correlation(judged, pearsonr), ranked(judged))


def ranked(judged: pd.DataFrame) -> float:
    """Spearman correlation, prompt by prompt where there are prompts."""
    if "prompt" not in judged:
        return correlation(judged, spearmanr)
    groups = [group for _, group in judged.groupby("prompt") if group["rating"].nunique() >= 3]  # noqa: PLR2004
    return float(np.mean([correlation(group, spearmanr) for group in groups])) if groups else float("nan")


def correlation(judged: pd.DataFrame, measure: Callable[..., tuple[float, float]]) -> float:
    """Of predicted and given ratings."""
    return float(measure(judged["predicted"], judged["rating"])[0])
