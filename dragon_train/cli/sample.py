"""`dragon sample`: hear a pipeline; and what `dragon listen` plays of a run."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer reads it
from typing import Annotated

import typer

from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.cli.device import Device, chosen_device
from dragon_rewards.cli.listen import sources
from dragon_rewards.files import check_folder
from dragon_train.cli.options import chosen_pipeline, given_prompts


@app.command()
def sample(
    prompts: Annotated[list[str] | None, typer.Argument(help="One clip is generated for each prompt.")] = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the media files and prompts.csv.")],
    file: Annotated[Path | None, typer.Option("--prompts", help="Text file of prompts, one per line.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="A name, a folder, or owner/name; default the run's.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished `dragon train`: hear the tuned model.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Diffusion steps.")] = 40,
    guidance: Annotated[float, typer.Option(min=1.0, help="Classifier-free guidance; 1 is none.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first clip; the others follow.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Generate a clip for each prompt and write it to a file."""
    info, texts = chosen_pipeline(pipeline, run), given_prompts(prompts or [], file)
    check_folder(out, "--out")
    where = chosen_device(device)
    from dragon_train.sampling import sample_to_folder  # imports torch: only now

    rows = sample_to_folder(info, run, texts, out, where, steps=steps, guidance=guidance, seed=seed)
    print_rows(rows, as_json=as_json)


def run_clips(path: Path, count: int, device: str | None) -> tuple[Path, Path] | None:
    """The folders of clips that the untuned and the tuned model of a run make; None if `path` holds no run."""
    from dragon_train.page.folders import run_folders

    return run_folders(path, count, chosen_device(device))


sources.append(run_clips)
