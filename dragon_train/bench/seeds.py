"""Benchmarks of several seeds in one folder: a whole benchmark each, and tables over them.

Seeds are independent of each other, so that a further one is run beside those that are there.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_train.bench.result_files import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX = "seed-"
SEED = "[0-9]{1,19}"  # of more digits none is a seed


def chosen_seeds(seed: int | None, seeds: str | None) -> int | tuple[int, ...]:
    """Return the seed of a single benchmark, by default 0, or the seeds of several.

    Raises:
        ConfigError: both are given, or `parse_seeds` refuses the list.
    """
    if seeds is None:
        return seed or 0
    if seed is not None:
        raise ConfigError(f"--seed {seed} and --seeds {seeds} exclude each other; give one of them")
    return parse_seeds(seeds)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of a list such as `0,1,2`, in ascending order.

    Raises:
        ConfigError: a seed is no whole number from 0 on, there is none, or one comes twice.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not re.fullmatch(SEED, part):
            raise ConfigError(f"--seeds {text}: '{part}' is no seed; give whole numbers from 0 on, such as 0,1,2")
    seeds = sorted(map(int, parts))
    twice = [seed for seed, following in pairwise(seeds) if seed == following]
    if twice:
        raise ConfigError(f"--seeds {text}: {twice[0]} comes twice; name each seed once")
    return tuple(seeds)


def seed_folder(out: Path, seed: int) -> Path:
    """Return the folder of the benchmark of one seed, of those in `out`."""
    return out / f"{PREFIX}{seed}"


def held_seeds(out: Path) -> list[int]:
    """Return the seeds, in ascending order, whose benchmarks are in a folder."""
    names = (path.parent.name.removeprefix(PREFIX) for path in out.glob(f"{PREFIX}*/{SETTINGS}"))
    return sorted(int(name) for name in names if re.fullmatch(SEED, name))


def check_place(out: Path, seeds: Sequence[int] | None) -> None:
    """Refuse a folder of results that holds other seeds than are asked for; a seed that is not there yet may be added.

    Args:
        out: the folder.
        seeds: of several benchmarks in it; None for a single benchmark.

    Raises:
        ConfigError: the folder holds a single benchmark where several are asked for, or the other way round, or it
            holds a seed that would be left out of the tables.
    """
    held = held_seeds(out)
    if seeds is None and held:
        raise ConfigError(f"{out} holds benchmarks of several seeds; give --seeds, or choose another --out")
    if seeds is not None and (out / SETTINGS).exists():
        raise ConfigError(f"{out} holds a benchmark of a single seed; give --seed, or choose another --out")
    left_out = [seed for seed in held if seeds is not None and seed not in seeds]
    if left_out:
        named = ", ".join(map(str, left_out))
        raise ConfigError(
            f"{out} holds seed {named} as well; add it to --seeds, as the tables are over all, or move "
            f"{seed_folder(out, left_out[0])} away"
        )
