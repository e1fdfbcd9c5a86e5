"""Fit an aesthetics head on a table of ratings, with the columns `path, rating[, prompt]` and paths relative to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import pearsonr, spearmanr

from dragon_rewards.errors import ConfigError, TableError
from dragon_rewards.media.audio import read_mono
from dragon_rewards.media.clips import Clips, resample
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
        srcc: Spearman correlation. Where the table has prompts, it is the mean over the prompts whose held-out clips
            have at least three different ratings, NaN if no prompt has; otherwise it is over all held-out clips.
    """

    head: KernelHead
    encoder: str
    plcc: float
    srcc: float


def fit_ratings(table: Path, encoder: str, seed: int = 0) -> FittedHead:
    """Read and encode the rated clips, fit a head on a random 85% of them, and measure it on the rest.

    Args:
        table: the table of ratings; its paths are relative to it.
        encoder: the name of the encoder to embed the clips with.
        seed: the seed of the random split.

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
    """Read and check a table of ratings: return `path`, `rating`, and `prompt` where it has a column of prompts.

    Raises:
        TableError: the table cannot be read, lacks a column, or holds a rating that is no number, or a path twice.
        ConfigError: it has fewer than 20 rows.
    """
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
    """Fit a head on a random 85% of the rows, and measure it on the others.

    Args:
        pooled: the pooled embedding of each row, (ratings, dim).
        rows: the columns `rating` and, where there are prompts, `prompt`.
        encoder: the name of the encoder, for the result.
        seed: the seed of the random split.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    fitted, held = np.split(order, [int(FIT_SHARE * len(rows))])
    ratings = torch.tensor(rows["rating"].to_numpy())
    head = fit_head(pooled[fitted], ratings[fitted])
    judged = rows.iloc[held].assign(predicted=head(pooled[held]).numpy())
    return FittedHead(head, encoder, correlation(judged, pearsonr), ranked(judged))


def ranked(judged: pd.DataFrame) -> float:
    """Return the Spearman correlation of predicted and given ratings.

    Where there are prompts, it is the mean over the prompts that have three different ratings or more, and NaN if none
    has.
    """
    if "prompt" not in judged:
        return correlation(judged, spearmanr)
    groups = [group for _, group in judged.groupby("prompt") if group["rating"].nunique() >= 3]  # noqa: PLR2004
    return float(np.mean([correlation(group, spearmanr) for group in groups])) if groups else float("nan")


def correlation(judged: pd.DataFrame, measure: Callable[..., tuple[float, float]]) -> float:
    """Return a correlation of predicted and given ratings, such as `scipy.stats.pearsonr` measures it."""
    return float(measure(judged["predicted"], judged["rating"])[0])
