"""The verb `dragon report`: show a folder of results as a page to look at and listen to."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_train.cli.options import Device, PromptFile


def report(
    run: Annotated[Path, typer.Argument(help="Folder of `dragon train` or `dragon bench`.")],
    out: Annotated[Path | None, typer.Option(help="The page; default RUN/report.html.")] = None,
    pairs: Annotated[int, typer.Option(min=0, help="Pairs of clips or images, per run; 0 is none.")] = 8,
    reward: Annotated[
        list[str] | None, typer.Option(help="Of a benchmark, make pairs of these runs only; repeatable.")
    ] = None,
    prompts: PromptFile = None,
    device: Device = None,
) -> None:
    """Write one self-contained HTML page of a run or a benchmark: figures, charts, and pairs to play or look at."""
    from dragon_train.bench.report.write import write_page

    print(write_page(run, out, pairs, reward or [], prompts, device))
