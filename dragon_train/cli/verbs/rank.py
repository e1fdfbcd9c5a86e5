"""The verb `dragon rank`: sort files from the best to the worst by any reward."""

from __future__ import annotations

from typing import Annotated

import typer

from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.discovery import check_there
from dragon_rewards.rewards import compose
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.device import chosen_device
from dragon_train.cli.files import check_csv, write_csv
from dragon_train.cli.options import Csv, Device, Json, Paths, Prompts, RewardOption, SkipBad, Wide
from dragon_train.cli.printing import print_rows


def rank(
    paths: Paths,
    reward: RewardOption,
    prompts: Prompts = None,
    top: Annotated[int | None, typer.Option(min=1, help="Show the best so many alone; all are judged.")] = None,
    csv: Csv = None,
    device: Device = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Rank files by a reward, the best first; a reward of sets ranks each file by what the set loses without it."""
    composed, cache = compose(reward), open_cache()
    check_csv(csv, "rank")
    check_there(paths)
    composed.require_weights()
    where = chosen_device(device)
    from dragon_rewards.ranking import rank_files

    with progress("reading and encoding", "steps") as bar:
        rows = rank_files(composed, paths, prompts, bar.advance, cache, where, skip_bad=skip_bad)[:top]
    print_rows(rows, as_json=as_json, wide=wide, main=("value", "path", "rank", "of", "better", "reward"))
    write_csv(csv, rows)
