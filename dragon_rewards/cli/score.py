"""`dragon score`: rank files, or judge a set of them, by any reward."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_rewards.cache import open_cache
from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.errors import DragonError
from dragon_rewards.rewards import compose


@app.command()
def score(
    reward: Annotated[str, typer.Argument(help="Name of the reward, see `dragon list rewards`.")],
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")],
    prompts: Annotated[
        Path | None, typer.Option(help="CSV or JSONL table of path and prompt; default prompts.csv beside the files.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the rows to this CSV file too.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Score files by a reward: its raw metric per file, or of the whole set."""
    composed, cache = compose(reward), open_cache()
    if csv and csv.is_dir():
        raise DragonError(f"'{csv}' is a folder; give --csv the path of a file")
    from rich.console import Console
    from rich.progress import Progress

    from dragon_rewards.scoring import score_files

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading and encoding", total=None)
        rows = score_files(
            composed, paths, prompts, lambda done, total: bar.update(task, completed=done, total=total), cache
        )
    if csv:
        import pandas as pd

        from dragon_rewards.report import write_text

        write_text(csv, pd.DataFrame(rows).to_csv(index=False))
    # A table is for eyes: six digits, as many as float32 embeddings carry.
    print_rows(rows if as_json else [{**row, "value": f"{row['value']:.6g}"} for row in rows], as_json=as_json)
