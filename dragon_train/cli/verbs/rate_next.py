"""The verb `dragon rate-next`: propose which clips to rate next."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  typer evaluates the annotations
from typing import Annotated

import typer

from dragon_rewards.heads import rated_head
from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.discovery import check_there
from dragon_rewards.rewards import compose
from dragon_rewards.terminal.printable import printable
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.device import chosen_device
from dragon_train.cli.files import check_csv, write_csv
from dragon_train.cli.options import Csv, Device, Json, RewardOption, SkipBad, Wide
from dragon_train.cli.printing import print_rows


def rate_next(
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders that are searched for them.")],
    reward: RewardOption,
    count: Annotated[int, typer.Option(min=1, help="How many clips to propose.")] = 10,
    kappa: Annotated[
        float, typer.Option(min=0, max=1e6, help="Deviations that are added to the prediction; 0 is greedy.")
    ] = 1,
    csv: Csv = None,
    device: Device = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Propose which clips to rate next: those that may be best, for all that a reward of `dragon fit-ratings` knows."""
    composed, cache = compose(reward), open_cache()
    record = rated_head(composed.name)
    check_csv(csv, "optimistic")
    check_there(paths)
    composed.require_weights()
    where = chosen_device(device)
    from dragon_rewards.fitting.optimism import rate_next as propose  # imports torch

    with progress("reading and encoding", "steps") as bar:
        rows = propose(record, paths, count, kappa, bar.advance, cache, where, skip_bad=skip_bad)
    print_rows(rows, as_json=as_json, wide=wide)
    write_csv(csv, rows)
    if not as_json:
        print(f"\nRate them, add them to {printable(record.table)}, and fit the reward again with --overwrite.")
