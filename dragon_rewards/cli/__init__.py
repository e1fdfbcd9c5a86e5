"""The `dragon` command: the app, and what its verbs share. Each verb is a file of its own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFUSED = 2  # exit code of every refusal, as of a wrong option
PIPED_WIDTH = 200  # columns of a table that no terminal bounds, so that a row stays a line

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class RefusingGroup(TyperGroup):
    """Prints a refusal's message, without a traceback, and exits with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except DragonError as refusal:
            print(f"dragon: {refusal}", file=sys.stderr)
            raise typer.Exit(REFUSED) from refusal


app = typer.Typer(
    name="dragon",
    cls=RefusingGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Distributional rewards for media diffusion models: score, fine-tune, benchmark.",
)


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows of equal keys as a table, or as a JSON list of objects."""
    if as_json:
        print(json.dumps(list(rows), indent=2, ensure_ascii=False))
    elif rows:
        _print_table(rows)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(rows[0]):
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=index == 0)  # first: names, to be copied
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def _cell(value: object) -> str:
    from rich.markup import escape

    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    if isinstance(value, float):
        return f"{value:.5g}"  # for reading; --json and --csv keep every digit
    return "" if value is None else escape(str(value))
