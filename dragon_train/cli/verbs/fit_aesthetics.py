"""The verb `dragon fit-aesthetics`: make the reduction `aesthetics` of ratings."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_rewards.heads import head_path
from dragon_rewards.registry import load_registry
from dragon_rewards.storage.files import check_file
from dragon_rewards.weights import require_weights
from dragon_train.cli.completion import encoders
from dragon_train.cli.options import Json, Wide
from dragon_train.cli.printing import print_rows


def fit_aesthetics(
    ratings: Annotated[
        Path, typer.Argument(help="Table of rated clips: path, rating[, prompt]; paths are relative to it.")
    ],
    encoder: Annotated[
        str, typer.Option(help="In whose space, as in aesthetics:clap.", autocompletion=encoders)
    ] = "clap",
    seed: Annotated[int, typer.Option(min=0, help="Of the split into 85% to fit and 15% to measure.")] = 0,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Fit a head on ratings of clips, measure it on 15% of them, and keep it as the reduction aesthetics."""
    require_weights(f"encoder '{encoder}'", load_registry().encoder(encoder).weights)
    check_file(head_path(), "the head")
    from dragon_rewards.reductions.own_head import keep
    from dragon_rewards.reductions.ratings import fit_ratings

    fitted = fit_ratings(ratings, encoder, seed)
    row = {"reward": f"aesthetics:{encoder}", "plcc": fitted.plcc, "srcc": fitted.srcc, "file": str(keep(fitted))}
    print_rows([row], as_json=as_json, wide=wide)
