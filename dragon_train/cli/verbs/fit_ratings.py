"""The verb `dragon fit-ratings`: make a reward of ratings of one's own."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.fitting.target import check_encoder, check_target
from dragon_rewards.heads import save_head
from dragon_rewards.media.cache import open_cache
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.completion import encoders
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import Device, Json, Wide
from dragon_train.cli.printing import PAGE, print_rows

if TYPE_CHECKING:
    from dragon_rewards.heads import HeadRecord


def fit_ratings(
    table: Annotated[
        Path,
        typer.Argument(help="Ratings, as CSV, JSON, JSONL or parquet: path, rating, and perhaps rater, prompt, track."),
    ],
    encoder: Annotated[str, typer.Option(help="Whose embeddings predict the ratings.", autocompletion=encoders)],
    name: Annotated[
        str | None, typer.Option(help="Of the reward: aesthetics-NAME, or aesthetics itself; default: as TABLE.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds of the cross-validation.")] = 0,
    device: Device = None,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the reward of this name.")] = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Make a reward of clips that people rated, and measure how well it predicts ratings that it did not see."""
    check_encoder(encoder)
    chosen = name or table.stem.lower()
    check_target(chosen, overwrite=overwrite)
    from dragon_rewards.fitting.table import read_ratings

    ratings, cache = read_ratings(table), open_cache()
    where = chosen_device(device)
    from dragon_rewards.fitting.fit import fit_ratings as fit

    with progress("reading and encoding", "steps") as bar:
        record, content = fit(ratings, chosen, encoder, where, cache, bar.advance, seed)
    save_head(record, content)
    _print(record, as_json=as_json, wide=wide)


def _print(record: HeadRecord, *, as_json: bool, wide: bool) -> None:
    row = _row(record)
    if as_json:
        print_rows([row], as_json=True)
        return
    measured = [
        {"measure": which, "correlation": figure.value, "low": figure.low, "high": figure.high}
        for which, figure in (("PLCC", record.plcc), ("SRCC", record.srcc))
    ]
    print_rows(measured, as_json=False, wide=wide)
    print(f"\n{fill(row['verdict'], PAGE)}\nThe reward is {row['reward']}.")


def _row(record: HeadRecord) -> dict[str, Any]:
    return {
        "reward": record.reward,
        "clips": record.clips,
        "raters": record.raters,
        "held_out_by": record.held_out_by,
        "held_out": record.held_out,
        **{
            f"{which}{end}": value
            for which, figure in (("plcc", record.plcc), ("srcc", record.srcc))
            for end, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high))
        },
        "rater_srcc": record.rater_srcc,
        "head_srcc": record.head_srcc,
        "ridge": record.ridge,
        "verdict": verdict(record),
    }


def verdict(record: HeadRecord) -> str:
    """Say in plain sentences what the figures are worth."""
    return " ".join(filter(None, [_beyond_chance(record), _beside_raters(record)]))


def _beyond_chance(record: HeadRecord) -> str:
    held = f"{record.clips} clips, {record.held_out} {record.held_out_by}s of which were held out in turn"
    if record.srcc.low > 0:
        return (
            f"The interval of SRCC lies above zero: on what it has not heard, the reward orders clips as you do better "
            f"than chance does ({held})."
        )
    return (
        f"The interval of SRCC does not lie above zero: nothing shows that the reward orders what it has not heard "
        f"better than chance does ({held}). Rate more clips, or try another --encoder."
    )


def _beside_raters(record: HeadRecord) -> str:
    if record.raters == 1:
        return ""
    if record.rater_srcc is None or record.head_srcc is None:
        return "Too few clips were rated by several people to tell how far they agree."
    worth = "no less than" if record.head_srcc >= record.rater_srcc else "less than"
    return (
        f"A rater agrees with the mean of the others at SRCC {record.rater_srcc:.2f}, and the reward in this rater's "
        f"place at {record.head_srcc:.2f}: it is worth {worth} one person more."
    )
