"""The verb `dragon blend`: how much of a tuning to keep, and a blend of it as a result."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_rewards.errors import ConfigError
from dragon_train.blend.shares import PARTS, SHARES
from dragon_train.cli.options import Device, Json, PromptFile, Wide
from dragon_train.cli.printing import print_rows


def blend(
    run: Annotated[Path, typer.Argument(help="Folder of a finished `dragon train`.")],
    parts: Annotated[
        int, typer.Option(min=1, help="Parts of the denoiser that get shares of their own; 1 is one share for all.")
    ] = PARTS,
    shares: Annotated[
        str | None, typer.Option(help="Shares that all parts have together.", show_default=SHARES)
    ] = None,
    prompts: PromptFile = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; default RUN/blend.")] = None,
    save: Annotated[
        str | None,
        typer.Option(help="Measure nothing, but write the blend of this share, or of one for each part, to --to."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the saved blend, for `--run` and PEFT.")] = None,
    device: Device = None,
    *,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Blend tuned and untuned weights: what each share of a run gains, and what it costs elsewhere."""
    from dragon_train.blend.commands import measure_blends, save_blend

    if save is None and to is None:
        rows = measure_blends(run, parts, shares or SHARES, prompts, out, device)
        print_rows(rows, as_json=as_json, wide=wide)
        return
    if save is None or to is None:
        raise ConfigError("--save says which blend, and --to where it goes: give both")
    if shares or prompts or out:
        raise ConfigError(
            "--shares, --prompts and --out are for measuring, and --save measures nothing; leave them out"
        )
    save_blend(run, parts, save, to, device)
    print(to)
