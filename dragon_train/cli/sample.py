"""`dragon sample`: hear a pipeline."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_rewards.cli import Json, app, print_rows
from dragon_train.registry import load_train_registry


@app.command()
def sample(
    prompts: Annotated[list[str], typer.Argument(help="One clip is generated for each prompt.")],
    out: Annotated[Path, typer.Option(help="Folder for the WAV files and prompts.csv.")],
    pipeline: Annotated[str, typer.Option(help="Name of the pipeline.")] = "embedded",
    run: Annotated[Path | None, typer.Option(help="Folder of a finished `dragon train`: hear the tuned model.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Diffusion steps.")] = 40,
    guidance: Annotated[float, typer.Option(min=1.0, help="Classifier-free guidance; 1 is none.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first clip; the others follow.")] = 0,
    *,
    as_json: Json = False,
) -> None:
    """Generate a clip for each prompt and write it as WAV."""
    info = load_train_registry().pipeline(pipeline)
    from dragon_train.sampling import sample_to_folder  # imports torch: only now

    rows = sample_to_folder(info, run, prompts, out, steps=steps, guidance=guidance, seed=seed)
    print_rows(rows, as_json=as_json)
