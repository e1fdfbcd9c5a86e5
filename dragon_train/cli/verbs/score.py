"""The verb `dragon score`: judge files, or a set of them, by any reward."""

from __future__ import annotations

from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.discovery import check_there
from dragon_rewards.rewards import compose
from dragon_rewards.terminal.progress import progress
from dragon_train.cli.device import chosen_device
from dragon_train.cli.files import check_csv, write_csv
from dragon_train.cli.launching import chosen_launcher
from dragon_train.cli.options import (
    Cpus,
    Csv,
    Device,
    FilesLauncher,
    Gpus,
    Json,
    Memory,
    Paths,
    Prompts,
    RewardArgument,
    SkipBad,
    Wide,
    Workers,
)
from dragon_train.cli.printing import print_rows


def score(
    reward: RewardArgument,
    paths: Paths,
    prompts: Prompts = None,
    csv: Csv = None,
    device: Device = None,
    launcher: FilesLauncher = None,
    workers: Workers = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    memory: Memory = None,
    *,
    skip_bad: SkipBad = False,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Score files by a reward: its raw metric per file, or of the whole set."""
    composed, cache = compose(reward), open_cache()
    check_csv(csv, "value")
    check_there(paths)
    composed.require_weights()
    launch = chosen_launcher(launcher, workers, cpus, gpus, memory, device)
    where = chosen_device(device)
    if launch is None:
        from dragon_rewards.scoring import score_files

        with progress("reading and encoding", "steps") as bar:
            rows = score_files(composed, paths, prompts, bar.advance, cache, where, skip_bad=skip_bad)
    else:
        from dragon_rewards.sharded import score_in_shards

        rows = score_in_shards(composed, paths, prompts, launch, where, skip_bad=skip_bad)
    print_rows(rows, as_json=as_json, wide=wide, main=("value", "path", "clips", "better", "reward"))
    write_csv(csv, rows)
