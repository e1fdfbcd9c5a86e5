"""What the verbs that score files share: their options, the progress bar, and the rows as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Paths = Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")]
PROMPTS = "Prompts: a list or a table, as TXT, CSV, JSON, JSONL or parquet"
Prompts = Annotated[Path | None, typer.Option(help=f"{PROMPTS}, that names the files; default: what lies beside them.")]
Csv = Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")]


def check_csv(csv: Path | None) -> None:
    """Refuse a folder before the long work."""
    if csv and csv.is_dir():
        raise DragonError(f"'{csv}' is a folder; give --csv the path of a file")


def write_csv(csv: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys, every digit of them."""
    if csv:
        import pandas as pd

        from dragon_rewards.files import write_text

        write_text(csv, pd.DataFrame(rows).to_csv(index=False))
