"""Make a head of a table of answers, and print how well it predicts: what the verbs that fit heads share."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import ComposeError, ConfigError
from dragon_rewards.fitting.target import check_encoder, check_target
from dragon_rewards.heads import save_head
from dragon_rewards.media.cache import open_cache
from dragon_rewards.names import check_name
from dragon_rewards.terminal.printable import counted
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.completion import encoders
from dragon_train.cli.device import chosen_device
from dragon_train.cli.options import seed_option
from dragon_train.cli.printing import PAGE, print_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_rewards.heads import HeadRecord

Encoder = Annotated[str, typer.Option(help="Whose embeddings predict the answers.", autocompletion=encoders)]
HeadName = Annotated[
    str | None, typer.Option(help="Of the reward: aesthetics-NAME, or aesthetics itself; default: as TABLE.")
]
FoldSeed = Annotated[int, seed_option("Seed of the folds of the cross-validation.")]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace the reward of this name.")]

CHANCE = {"srcc": 0.0, "accuracy": 0.5}
CLAIMS = {  # what chance is in words, what the reward does, and what gives more to learn from
    "ratings": ("zero", "orders clips that it has not heard as you do", "Rate"),
    "preferences": ("one half", "prefers the one that you do of two clips that it has not heard", "Compare"),
}
LABELS = {"srcc": "SRCC", "plcc": "PLCC", "accuracy": "accuracy", "log_loss": "log loss"}


def make_head(
    table: Path,
    read: Callable[[Path], Any],
    fit: Callable[..., tuple[HeadRecord, bytes]],
    encoder: str,
    name: str | None,
    seed: int,
    device: str | None,
    *,
    overwrite: bool,
) -> HeadRecord:
    """Read a table, fit a head to it, keep the head, and return its record; what can be refused is refused first.

    Args:
        table: the file.
        read: reads it.
        fit: fits a head to what was read, with a `fitting.fit.Fitting`.
        encoder: the name of the encoder.
        name: the name of the head; None for the name of the table.
        seed: the seed of the folds.
        device: the name of the device; None for the default.
        overwrite: whether a head of this name may be replaced.

    Raises:
        DragonError: the encoder, the name or the table cannot be used, or the fit failed.
    """
    check_encoder(encoder)
    chosen = name or _name_of(table)
    check_target(chosen, overwrite=overwrite)
    judged, cache = read(table), open_cache()
    where = chosen_device(device)
    from dragon_rewards.fitting.fit import Fitting  # imports torch

    with progress("reading and encoding", "steps") as bar:
        record, content = fit(judged, Fitting(chosen, encoder, where, cache, bar.advance, seed))
    save_head(record, content)
    return record


def _name_of(table: Path) -> str:
    """Return the name of a head that is called after its table.

    Raises:
        ConfigError: the table is called as no head can be.
    """
    try:
        return check_name(table.stem.lower())
    except ComposeError as error:
        raise ConfigError(f"'{table}' gives its reward no name ({error}); give one with --name") from error


def print_head(record: HeadRecord, *, as_json: bool, wide: bool) -> None:
    """Print how well a head predicts, and what that is worth."""
    row = _row(record)
    if as_json:
        print_rows([row], as_json=True)
        return
    measured = [
        {"measure": LABELS[name], "figure": figure.value, "low": figure.low, "high": figure.high}
        for name, figure in record.figures.items()
    ]
    print_rows(measured, as_json=False, wide=wide)
    print(f"\n{fill(row['verdict'], PAGE)}\nThe reward is {row['reward']}.")


def _row(record: HeadRecord) -> dict[str, Any]:
    return {
        "reward": record.reward,
        "clips": record.clips,
        record.fitted_to: record.answers,
        "raters": record.raters,
        "held_out_by": record.held_out_by,
        "held_out": record.held_out,
        **{
            f"{name}{end}": value
            for name, figure in record.figures.items()
            for end, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high))
        },
        f"rater_{record.measure}": record.rater_agreement,
        f"head_{record.measure}": record.head_agreement,
        "ridge": record.ridge,
        "verdict": verdict(record),
    }


def verdict(record: HeadRecord) -> str:
    """Say in plain sentences what the figures are worth."""
    return " ".join(filter(None, [_beyond_chance(record), _beside_raters(record)]))


def _beyond_chance(record: HeadRecord) -> str:
    judged = f"{counted(record.clips, 'clip')}, {counted(record.held_out, record.held_out_by)}"
    chance, does, more = CLAIMS[record.fitted_to]
    claim = f"the reward {does}, better than chance ({judged} of which were held out in turn)."
    interval = f"The interval of {LABELS[record.measure]}"
    if record.figures[record.measure].low > CHANCE[record.measure]:
        return f"{interval} lies above {chance}: {claim}"
    return (
        f"{interval} does not lie above {chance}: nothing shows that {claim} {more} more clips, or try another "
        "--encoder."
    )


def _beside_raters(record: HeadRecord) -> str:
    if record.raters == 1:
        return ""
    if record.rater_agreement is None or record.head_agreement is None:
        return "Too little was judged by several people to tell how far they agree."
    worth = "no less than" if record.head_agreement >= record.rater_agreement else "less than"
    measured = LABELS[record.measure]
    return (
        f"A rater agrees with the mean of the others at {measured} {record.rater_agreement:.2f}, and the reward in "
        f"this rater's place at {record.head_agreement:.2f}: it is worth {worth} one person more."
    )
