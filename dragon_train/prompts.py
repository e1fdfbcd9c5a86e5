"""Choose which prompts a run trains on, and which it keeps from training for comparison."""

from __future__ import annotations

import random
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.terminal.printable import counted
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.ranks import leads
from dragon_train.prompt_table import Prompts, read_prompts
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.config import TrainConfig

EMBEDDED = "embedded"  # the pipeline that has prompts of its own
MUSIC = "music_prompts.txt"


def split(config: TrainConfig, path: Path | None) -> Prompts:
    """Return the prompts to train on, and the prompts kept from training.

    Of a list they are taken in random order, the last ones kept from training. Without a list, the embedded model has
    prompts of its own, of which those to watch are kept from training, and other pipelines take a list of music of all
    kinds.

    Args:
        config: the run; its seed orders the list.
        path: a file of prompts, with the columns that the pipeline takes (`prompt_table`); None for the defaults.

    Raises:
        DragonError: the file cannot be read, has a column that the pipeline does not take, or too few prompts.
    """
    if path is None and config.pipeline == EMBEDDED:
        return Prompts(tuple(prompts("train")), tuple(prompts("watch")[: config.heldout_prompts]))
    wanted, source = config.prompts_per_step + config.heldout_prompts, path or default_prompts()
    texts = prompts_for(config.pipeline, source)
    if len(texts) < wanted:
        raise ConfigError(
            f"{source.name}: {counted(len(texts), 'prompt')}, too few for prompts_per_step = "
            f"{config.prompts_per_step} and heldout_prompts = {config.heldout_prompts}"
        )
    return divided(texts, config.heldout_prompts, config.seed)


def prompts_for(pipeline: str, path: Path) -> list[str]:
    """Read a file of prompts for a pipeline, with the columns that it takes.

    Raises:
        DragonError: the file cannot be read, or has a column that the pipeline does not take.
    """
    return read_prompts(path, partial(load_train_registry().columns, pipeline))


def divided(texts: Sequence[str], heldout: int, seed: int) -> Prompts:
    """Shuffle a list of prompts and keep the last `heldout` of them from training.

    A user's list may be sorted, and steps take consecutive prompts.
    """
    mixed, kept = random.Random(seed).sample(texts, len(texts)), len(texts) - heldout
    return Prompts(tuple(mixed[:kept]), tuple(mixed[kept:]))


def default_prompts() -> Path:
    """Return the path of the shipped list of prompts for music of all kinds, and say on stderr that it is taken."""
    if leads():
        print(f"prompts: {MUSIC}, which ships with dragon_train; --prompts FILE names others", file=sys.stderr)
    return shipped_prompts()


def shipped_prompts() -> Path:
    """Return the path of the shipped list of prompts for music of all kinds."""
    return Path(str(files("dragon_train"))) / MUSIC
