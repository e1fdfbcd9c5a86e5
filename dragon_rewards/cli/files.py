"""What the verbs that score files share: their options, the progress bar, and the rows as CSV."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Paths = Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")]
Prompts = Annotated[
    Path | None, typer.Option(help="CSV or JSONL table of path and prompt; default prompts.csv beside the files.")
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="List what cannot be used, and go on without; every file is read once before."),
]
Csv = Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")]


def check_csv(csv: Path | None) -> None:
    """Refuse a folder before the long work."""
    if csv and csv.is_dir():
        raise DragonError(f"'{csv}' is a folder; give --csv the path of a file")


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, which is told how many further steps of how many are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading and encoding", total=None)
        yield lambda steps, total: bar.update(task, advance=steps, total=total)


def write_csv(csv: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys, every digit of them."""
    if csv:
        import pandas as pd

        from dragon_rewards.files import write_text

        cells = [{key: _escaped(value) for key, value in row.items()} for row in rows]
        write_text(csv, pd.DataFrame(cells).to_csv(index=False))


def _escaped(value: Any) -> Any:
    """A text as UTF-8 can hold it: bytes of file names that are none are escaped, as where they are printed."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
