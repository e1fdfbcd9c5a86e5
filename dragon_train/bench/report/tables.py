"""Tables of the page: columns under plain names, and a figure with its interval in one cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_train.bench.report.cells import NOISE, cell, probability, share, signed
from dragon_train.bench.report.view import Cell, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Form = Callable[[float], Cell]
    Look = Callable[[Mapping[str, Any]], str]

LOW, HIGH, DEVIATION = "_low", "_high", "_sd"  # columns with the ends of a column's interval, or its deviation
SECONDS = "_s"  # how columns of metrics.csv that hold seconds end
HELDOUT, WON, UNTUNED = "heldout ", "win rate ", "untuned "  # how columns of metrics.csv about a held-out reward begin
PROMPTED = ("instrument", "form", "tempo", "mode", "density", "register")  # of what prompts name: found in the clips
WORDS = {
    **{name: f"{name} as prompted" for name in PROMPTED},
    "run": "tuned toward",
    "rewards": "which rewards",
    "count": "how many rewards",
    "between_seeds": "deviation between seeds",
    "direction": "better is",
    "before": "untuned",
    "after": "tuned",
    "lower": "at least (95%)",
    "p_value": "p-value",
    "permutation_p": "p-value by exchanging clips",
    "holm": "p-value, corrected",
    "effect": "effect size, \N{MINUS SIGN}1 to 1",
    "trials": "independent comparisons",
    "target": "win rate, own reward",
    "heldout": "mean win rate, held-out rewards",
    "judges": "held-out rewards",
    "same_question": "mean win rate, same kind of reward",
    "without_gain": "held-out rewards without gain",
    "musicnn": "win rate, musicnn",
    "duration": "length, s",
    "loudness": "loudness, LUFS",
    "silence": "share of silence",
    "controlled": "win rate without their part",
    "real": "real music",
    "codec": "real music through the codec",
    "share": "way to real music",
    "fad_logmel": "distance from the reference set, log-mel",
    "fad_chroma": "distance from the reference set, chroma",
    "denoising_error": "denoising error on real music",
    "musicnn_airs": "distance by musicnn, airs",
    "musicnn_tunebook": "distance by musicnn, tunebook",
    "positive_reward": "reward of chosen clips",
    "comparable": "share of pairs with a clear winner",
    "margin": "margin over untuned",
    "kl": "KL divergence from untuned",
    "vendi": "diversity (Vendi)",
    "gradient_norm": "norm of the gradient",
    "dormant": "share of dormant units",
    "update_rank": "rank of the update",
    "heldout_win_rate": "mean held-out win rate",
}
FORMS: dict[str, Form] = {
    **dict.fromkeys(("win_rate", "lower", "target", "heldout", "same_question", "musicnn", "controlled"), share),
    **dict.fromkeys(("p_value", "permutation_p", "holm"), probability),
    **dict.fromkeys(("silence", "share", "mean", "between_seeds", "dormant", *PROMPTED), share),
    "change": signed,
}


def words(column: str) -> str:
    """Return the name of a column as a reader understands it who has not seen the source.

    >>> words("heldout vendi:clap"), words("sampling_s"), words("loss_scale")
    ('vendi:clap on held-out prompts', 'sampling, s', 'loss scale')
    """
    if column.endswith(SECONDS):
        return f"{column.removesuffix(SECONDS)}, s"
    for begin, form in (
        (HELDOUT, "{} on held-out prompts"),
        (UNTUNED, "{} of the untuned model"),
        (WON, "win rate, {}"),
    ):
        if column.startswith(begin):
            return form.format(column.removeprefix(begin))
    return WORDS.get(column, column.replace("_", " "))


def frame_table(
    caption: str, frame: pd.DataFrame, looks: Mapping[str, Look] | None = None, columns: Sequence[str] | None = None
) -> Table:
    """Return a frame as a table of the page.

    A column `X` with `X_low` and `X_high` beside it becomes one, with the interval under each figure; so does one with
    `X_sd`, the deviation between seeds. The figures of `change` are grey where their interval holds 0.

    Args:
        caption: of the table.
        frame: whose texts are shown as they are.
        looks: gives the class of a column's cell from its row, by the name of the column.
        columns: which are shown; None means all. Columns without any cell are left out.
    """
    names = [str(column) for column in frame.columns]
    beside = {f"{name}{end}" for name in names for end in (LOW, HIGH, DEVIATION)}
    known = {name for name in names if frame.empty or frame[name].notna().any()}
    shown = [name for name in columns or names if name in known - beside]
    rows = [
        tuple(looked(with_interval(row, name), row, (looks or {}).get(name)) for name in shown)
        for row in (dict(zip(names, values, strict=True)) for values in frame.itertuples(index=False))
    ]
    return Table(caption, tuple(map(words, shown)), tuple(rows))


def looked(made: Cell, row: Mapping[str, Any], look: Look | None) -> Cell:
    """Return a cell with the look that its row gives it, if any does."""
    return replace(made, look=look(row)) if look else made


def with_interval(row: Mapping[str, Any], name: str) -> Cell:
    """Return the cell of a row's column, with its interval or its deviation in words if the row has one."""
    value, low, high, spread = row[name], row.get(name + LOW), row.get(name + HIGH), row.get(name + DEVIATION)
    form: Form = cell if isinstance(value, str) else FORMS.get(name, cell)
    made = form(value)
    if pd.notna(spread):
        return replace(made, note=f"± {form(spread).text.removeprefix('+')} between seeds")
    if pd.isna(low) or pd.isna(high):
        return made
    within = name == "change" and low <= 0 <= high
    return replace(made, note=interval(form, low, high), look=NOISE if within else made.look)


def interval(form: Form, low: float, high: float) -> str:
    """Return the ends of a 95% interval as text.

    >>> interval(signed, -0.5, 0.25)
    '−0.500 to +0.250'
    """
    return f"{form(low).text} to {form(high).text}"


def key_values(caption: str, values: Mapping[str, Any]) -> Table:
    """Return a table with a row for each key, and for each key of a table within."""
    return Table(caption, ("name", "value"), tuple((Cell(key), Cell(plain(value))) for key, value in flat(values)))


def flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield keys and values; a key of a table within follows the key of that table after a dot.

    >>> list(flat({"seed": 0, "train": {"steps": 2}}))
    [('seed', 0), ('train.steps', 2)]
    """
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def plain(value: Any) -> str:
    """Return a value of a configuration as text.

    >>> plain([]), plain(["a", "b"]), plain(False), plain({"steps": 2})
    ('none', 'a, b', 'no', 'steps = 2')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {plain(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return str(value)
