"""The verb `dragon fit-ratings`: make a reward of ratings of one's own."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_train.cli.heads import Encoder, FoldSeed, HeadName, Replace, make_head, print_head
from dragon_train.cli.options import Device, Json, Wide

if TYPE_CHECKING:
    from dragon_rewards.fitting.fit import Fitting
    from dragon_rewards.fitting.table import Ratings
    from dragon_rewards.heads import HeadRecord


def fit_ratings(
    table: Annotated[
        Path,
        typer.Argument(help="Ratings, as CSV, JSON, JSONL or parquet: path, rating, and perhaps rater, prompt, track."),
    ],
    encoder: Encoder,
    name: HeadName = None,
    seed: FoldSeed = 0,
    device: Device = None,
    *,
    overwrite: Replace = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make a reward of clips that people rated, and measure how well it predicts ratings that it did not see."""
    record = make_head(table, _read, _fit, encoder, name, seed, device, overwrite=overwrite)
    print_head(record, as_json=as_json, wide=wide)


def _read(table: Path) -> Ratings:
    from dragon_rewards.fitting.table import read_ratings

    return read_ratings(table)


def _fit(ratings: Ratings, fitting: Fitting) -> tuple[HeadRecord, bytes]:
    from dragon_rewards.fitting.fit import fit_ratings

    return fit_ratings(ratings, fitting)
