"""The verb `dragon fit-preferences`: make a reward of what people preferred of two clips."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from dragon_train.cli.heads import Encoder, FoldSeed, HeadName, Replace, make_head, print_head
from dragon_train.cli.options import Device, Json, Wide

if TYPE_CHECKING:
    from dragon_rewards.fitting.fit import Fitting
    from dragon_rewards.fitting.preferences import Preferences
    from dragon_rewards.heads import HeadRecord


def fit_preferences(
    table: Annotated[
        Path,
        typer.Argument(
            help="Votes, as CSV, JSON, JSONL or parquet: path_a, path_b, preferred (a, b or tie), and perhaps rater, "
            "prompt; as `dragon listen report --csv` writes them."
        ),
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
    """Make a reward of clips that people compared, and measure how well it predicts votes that it did not see."""
    record = make_head(table, _read, _fit, encoder, name, seed, device, overwrite=overwrite)
    print_head(record, as_json=as_json, wide=wide)


def _read(table: Path) -> Preferences:
    from dragon_rewards.fitting.preferences import read_preferences

    return read_preferences(table)


def _fit(preferences: Preferences, fitting: Fitting) -> tuple[HeadRecord, bytes]:
    from dragon_rewards.fitting.fit import fit_preferences

    return fit_preferences(preferences, fitting)
