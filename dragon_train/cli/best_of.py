"""`dragon best-of`: selection at inference by any reward."""

from __future__ import annotations

from functools import partial
from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.cli.device import Device, chosen_device
from dragon_rewards.rewards import compose
from dragon_rewards.shown import json_text
from dragon_train.cli.options import chosen_pipeline, given_prompts


@app.command("best-of")
def best_of(
    n: Annotated[int, typer.Argument(min=2, help="Clips that are generated for each prompt.")],
    prompts: Annotated[list[str] | None, typer.Argument(help="One clip is kept for each prompt.")] = None,
    *,
    reward: Annotated[str, typer.Option(help="Name of the reward that chooses, of clips or of whole sets.")],
    out: Annotated[Path, typer.Option(help="Folder for the media files and prompts.csv.")],
    file: Annotated[Path | None, typer.Option("--prompts", help="Text file of prompts, one per line.")] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="A name, a folder, or owner/name[@revision]; default the run's.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of a finished `dragon train`: choose of the tuned.")] = None,
    steps: Annotated[int, typer.Option(min=2, help="Diffusion steps.")] = 40,
    guidance: Annotated[float, typer.Option(min=1.0, help="Classifier-free guidance; 1 is none.")] = 3.0,
    seed: Annotated[int, typer.Option(min=0, help="What the seeds of all clips are drawn from.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Generate several clips for each prompt and keep the one, or the set of one each, that a reward likes best."""
    info, composed, texts = chosen_pipeline(pipeline, run), compose(reward), given_prompts(prompts or [], file)
    composed.require_weights()
    where = chosen_device(device)
    from dragon_train.best_of import best_of as choose
    from dragon_train.best_of import write_best
    from dragon_train.console import progress
    from dragon_train.run import load_policy

    composed.check_count(len(texts))
    policy = load_policy(info, run, where)
    with progress() as bar:
        task = bar.add_task(reward, total=n, note="sets")
        advance = partial(bar.advance, task)
        best = choose(n, policy, composed, texts, steps=steps, guidance=guidance, seed=seed, on_set=advance)
    rows = write_best(policy, best, out)
    verdict = {"reward": reward, "better": str(composed.direction), "before": best.before, "after": best.after}
    if as_json:
        print(json_text({**verdict, "clips": rows}))
    else:
        print_rows(rows, as_json=False)
        print(f"{reward} ({composed.direction} is better): {best.before:.5g} first of {n}, {best.after:.5g} chosen")
