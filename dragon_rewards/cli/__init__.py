"""The `dragon` command: the app, and what its verbs share. Each verb is a file of its own."""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REFUSED = 2  # exit code of every refusal, as of a wrong option
GAP = 2  # columns of a terminal between those of a table
NARROWEST = 20  # columns of a terminal below which no column of a table is wrapped

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class RefusingGroup(TyperGroup):
    """Prints a refusal's message, or that memory ran out, without a traceback, and exits with 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        if isinstance(sys.stdout, TextIOWrapper):  # names of files need not be UTF-8, and are shown as on stderr
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except DragonError as refusal:
            print(f"dragon: {refusal}", file=sys.stderr)
            raise typer.Exit(REFUSED) from refusal
        except (RuntimeError, MemoryError) as error:  # among the former is typer's own way to exit
            if "torch" not in sys.modules or not _is_out_of_memory(error):
                raise
            advice = "end what else uses the device, lower the batch, or choose another, as --device cpu does"
            print(f"dragon: out of memory ({error}); {advice}", file=sys.stderr)
            raise typer.Exit(REFUSED) from error


def _is_out_of_memory(error: BaseException) -> bool:
    from dragon_rewards.devices import is_out_of_memory

    return is_out_of_memory(error)


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
    from tabulate import tabulate

    headers = [column.replace("_", " ") for column in rows[0]]
    cells = [[_cell(value) for value in row.values()] for row in rows]
    widths = _widths(headers, cells)
    print(tabulate(cells, headers, tablefmt="simple", disable_numparse=True, maxcolwidths=widths))


def _widths(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int | None]:
    """The width to which each column is wrapped: in a terminal, the widest but the first, which holds names to copy."""
    if not sys.stdout.isatty():
        return [None] * len(headers)
    first, *others = (max(map(len, column)) for column in zip(headers, *cells, strict=True))
    room = get_terminal_size().columns - first - GAP * len(others)
    fitting = (width for width in range(room, NARROWEST, -1) if sum(min(width, other) for other in others) <= room)
    return [None, *[next(fitting, NARROWEST)] * len(others)]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.5g}"  # for reading; --json and --csv keep every digit
    return "" if value is None else str(value)
