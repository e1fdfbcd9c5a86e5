"""`dragon report`: a folder of results as a page to look at and listen to."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_rewards.cli import app
from dragon_rewards.errors import DragonError

NEEDED = ("altair", "vl_convert", "jinja2", "PIL")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of `dragon train` or `dragon bench`.")],
    out: Annotated[Path | None, typer.Option(help="The page; default RUN/report.html.")] = None,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of clips to play, per run; 0 is none.")] = 8,
    reward: Annotated[list[str] | None, typer.Option(help="Of a benchmark, play these runs only; repeatable.")] = None,
    prompts: Annotated[Path | None, typer.Option(help="Text file of prompts for the pairs, one per line.")] = None,
) -> None:
    """Write one self-contained HTML page of a run or a benchmark: figures, charts, and pairs of clips to play."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise DragonError(f'dragon report needs {", ".join(missing)}: pip install "dragon-rewards[reports]"')
    from dragon_train.page.report import write_page

    print(write_page(run, out, pairs, reward or [], prompts))
