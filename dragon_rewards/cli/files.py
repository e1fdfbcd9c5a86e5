"""What the verbs that score files share: their options, the progress bar, and the rows as CSV."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Paths = Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")]
Prompts = Annotated[
    Path | None, typer.Option(help="CSV or JSONL table of path and prompt; default prompts.csv beside the files.")
]
Csv = Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")]


def check_csv(csv: Path | None) -> None:
    """Refuse a file that cannot be written, before the long work."""
    if csv:
        from dragon_rewards.files import check_file

        check_file(csv, "--csv")


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, which is told how many further steps of how many are done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading and encoding", total=None)
        yield lambda steps, total: bar.update(task, advance=steps, total=total)


def write_csv(csv: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys, every digit of them, when they have been printed: whatever happens, they are seen."""
    if csv:
        import pandas as pd

        from dragon_rewards import formulas

        sys.stdout.flush()
        formulas.write_csv(csv, pd.DataFrame(rows))
