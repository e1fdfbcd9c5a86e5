"""Prompts, and what a table says of them besides: lyrics, tempo, length and whatever else a pipeline takes.

A `Prompt` is a text with further columns. It goes wherever a text goes, so that the columns reach the pipeline with it,
when clips are sampled and when the denoiser is asked about them; rewards read the text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dragon_rewards.errors import TableError
from dragon_rewards.storage.table_files import KNOWN, Column, Row, Table, read_table, texts_of
from dragon_rewards.storage.table_formats import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

Value = str | int | float
Entry = str | dict[str, Value]  # a prompt in a file: its text, or its text and its columns

COLUMNS: Mapping[str, Callable[[Table, Row, Column], Value | None]] = {  # how the cells of each are read
    "lyrics": Table.text,
    "duration": Table.number,
    "bpm": Table.whole,
    "key": Table.text,
    "time_signature": Table.whole,
    "language": Table.text,
    "negative_prompt": Table.text,
}
LENGTH = "duration"
WRITTEN = KNOWN | {"value", ""}  # of the tables that `sample` and `best-of` write; spreadsheets have nameless columns


class Prompt(str):
    """A prompt with what a table says of it besides.

    Two of them are equal if their texts are.

    Attributes:
        columns: the values of its columns, by name; of a cell that is empty there is none.
    """

    __slots__ = ("columns",)

    columns: Mapping[str, Value]

    def __new__(cls, text: str, columns: Mapping[str, Value]) -> Self:
        """Make a prompt of a text and its columns."""
        made = super().__new__(cls, text)
        made.columns = dict(columns)
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, Value]]:  # type: ignore[override]  # a text has no columns
        return str(self), self.columns


class Prompts(NamedTuple):
    """The prompts to tune on, and the prompts that are kept from tuning."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


def columns_of(prompt: str) -> Mapping[str, Value]:
    """Return what a table says of a prompt besides its text; nothing of a plain text.

    >>> columns_of(Prompt("a hymn", {"bpm": 80})), columns_of("a hymn")
    ({'bpm': 80}, {})
    """
    return prompt.columns if isinstance(prompt, Prompt) else {}


def as_entry(prompt: str) -> Entry:
    """Return a prompt in the form that JSON holds.

    >>> as_entry(Prompt("a hymn", {"bpm": 80})), as_entry("a hymn")
    ({'prompt': 'a hymn', 'bpm': 80}, 'a hymn')
    """
    return {"prompt": str(prompt), **columns_of(prompt)} if columns_of(prompt) else str(prompt)


def as_prompt(entry: Entry) -> str:
    """Return the prompt that `as_entry` made this of."""
    if isinstance(entry, str):
        return entry
    columns = {name: value for name, value in entry.items() if name != "prompt"}
    return Prompt(str(entry["prompt"]), columns)


def read_prompts(path: Path, takes: Callable[[], Collection[str]]) -> list[str]:
    """Read the prompts of a list or a table, in order, with the columns that a pipeline takes.

    Args:
        path: the file.
        takes: returns the columns that the pipeline takes; it is asked only if the table has more than prompts.

    Raises:
        TableError: the file cannot be read, has a column that the pipeline does not take, a cell that is wrong, or
            prompts of different lengths; the message names it.
    """
    table = read_table(path, frozenset(COLUMNS))
    texts, further = texts_of(table), further_columns(table)
    if not further:
        return list(texts)
    check_columns(path, further, takes())
    told = [cells(table, row, further) for row in table.rows]
    check_length(table, told)
    return [Prompt(text, columns) if columns else text for text, columns in zip(texts, told, strict=True)]


def further_columns(table: Table) -> list[str]:
    """Return the plain names of the columns of a table that say more of its prompts than their texts."""
    return [name for name in map(plain, table.columns or ()) if name not in WRITTEN]


def check_columns(path: Path, given: Iterable[str], taken: Collection[str]) -> None:
    """Refuse a column that a pipeline does not take.

    Raises:
        TableError: there is one; the message lists those that the pipeline takes.
    """
    strange = next((name for name in given if name not in taken), None)
    if strange is not None:
        takes = f"'prompt' it takes: {', '.join(sorted(taken))}" if taken else "'prompt' it takes none"
        raise TableError(
            f"'{path}' has a column '{strange}', which this pipeline does not take; beside {takes}; rename the column, "
            "or remove it"
        )


def cells(table: Table, row: Row, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of these columns in a row, without those that are empty.

    Raises:
        TableError: a value is not of the column's type, or a number is not positive.
    """
    found = {name: COLUMNS[name](table, row, Column((name,))) for name in names}
    for name, value in found.items():
        if isinstance(value, int | float) and value <= 0:
            raise TableError(f"{table.where(row)}: {name} = {value}; it must be more than 0")
    return {name: value for name, value in found.items() if value is not None}


def check_length(table: Table, told: Sequence[Mapping[str, Value]]) -> None:
    """Refuse prompts of different lengths: clips are stacked, and judged together.

    Raises:
        TableError: there are such; the message names a row.
    """
    first = told[0].get(LENGTH)
    for row, columns in zip(table.rows, told, strict=True):
        if columns.get(LENGTH) != first:
            here, there = columns.get(LENGTH, "none"), told[0].get(LENGTH, "none")
            raise TableError(
                f"{table.where(row)}: {LENGTH} = {here}, and {there} in row {table.rows[0].number}; clips that are "
                "made together are of one length: write it in every row, and make a table for each length"
            )
