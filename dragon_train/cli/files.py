"""The options, the check and the CSV file that verbs which score files share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Paths = Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")]
PROMPTS = "Prompts: a list or a table, as TXT, CSV, JSON, JSONL or parquet"
Prompts = Annotated[Path | None, typer.Option(help=f"{PROMPTS}, that names the files; default: what lies beside them.")]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="List what cannot be used, and go on without; every file is read once before."),
]
Csv = Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")]


def check_csv(csv: Path | None) -> None:
    """Refuse a CSV file that cannot be written, before the long work.

    Raises:
        DragonError: it cannot be written.
    """
    if csv:
        from dragon_rewards.storage.files import check_file

        check_file(csv, "--csv")


def write_csv(csv: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with equal keys to a CSV file, every digit of them; nothing is written if there is no file.

    The rows were printed before: standard output is flushed first, so that they are seen whatever happens to the file.
    """
    if csv:
        import pandas as pd

        from dragon_rewards.storage.files import write_csv as write_table

        sys.stdout.flush()
        cells = [{key: _escaped(value) for key, value in row.items()} for row in rows]
        write_table(csv, pd.DataFrame(cells))


def _escaped(value: Any) -> Any:
    """Return a text as UTF-8 can hold it: bytes of file names that are none are escaped, as where they are printed."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
