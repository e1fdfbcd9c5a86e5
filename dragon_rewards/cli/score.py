"""`dragon score`: judge files, or a set of them, by any reward."""

from __future__ import annotations

from typing import Annotated

import typer

from dragon_rewards.cache import open_cache
from dragon_rewards.cli import Json, app, print_rows
from dragon_rewards.cli.device import Device, chosen_device
from dragon_rewards.cli.files import Csv, Paths, Prompts, SkipBad, check_csv, reading_bar, write_csv
from dragon_rewards.rewards import compose


@app.command()
def score(
    reward: Annotated[str, typer.Argument(help="Name of the reward, see `dragon list rewards`.")],
    paths: Paths,
    prompts: Prompts = None,
    csv: Csv = None,
    device: Device = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Score files by a reward: its raw metric per file, or of the whole set."""
    composed, cache = compose(reward), open_cache()
    check_csv(csv)
    composed.require_weights()
    where = chosen_device(device)
    from dragon_rewards.scoring import score_files

    with reading_bar() as on_progress:
        rows = score_files(composed, paths, prompts, on_progress, cache, where, skip_bad=skip_bad)
    write_csv(csv, rows)
    # A table is for eyes: six digits, as many as float32 embeddings carry.
    print_rows(rows if as_json else [{**row, "value": f"{row['value']:.6g}"} for row in rows], as_json=as_json)
