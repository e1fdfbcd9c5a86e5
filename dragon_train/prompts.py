"""Choose which prompts a run trains on, and which it keeps from training for comparison."""

from __future__ import annotations

import random
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dragon_rewards.errors import ConfigError
from dragon_rewards.exemplars import captions
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.storage.table_files import read_texts
from dragon_train.embedded.prompts import prompts as embedded_prompts
from dragon_train.loop.ranks import leads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dragon_train.config import TrainConfig

EMBEDDED = "embedded"  # the pipeline that has prompts of its own
MUSIC = "music_prompts.txt"


class Prompts(NamedTuple):
    """The prompts to tune on, and the prompts that are kept from tuning."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


def split(config: TrainConfig, path: Path | None) -> Prompts:
    """Return the prompts to train on, and the prompts kept from training.

    Of a list they are taken in random order, the last ones kept from training. Without a list, the embedded model has
    prompts of its own, and other pipelines take the captions of the exemplar sets that the reward names, if they are
    enough, or else a list of music of all kinds.

    Args:
        config: the run; its seed orders the list.
        path: a file of prompts; None for the defaults.

    Raises:
        ConfigError: the file cannot be read, or holds too few prompts.
    """
    wanted = config.prompts_per_step + config.heldout_prompts
    if path is None and config.pipeline == EMBEDDED:
        own = of_embedded()
        return Prompts(own.train, own.heldout[: config.heldout_prompts])
    texts = default_prompts(config, wanted) if path is None else read_texts(path)
    if len(texts) < wanted:
        raise ConfigError(
            f"{path or MUSIC}: {len(texts)} prompts are too few for prompts_per_step = {config.prompts_per_step} and "
            f"heldout_prompts = {config.heldout_prompts}"
        )
    return divided(texts, config.heldout_prompts, config.seed)


def of_embedded() -> Prompts:
    """Return the prompts that ship with the embedded pipeline."""
    return Prompts(tuple(embedded_prompts("train")), tuple(embedded_prompts("heldout")))


def divided(texts: Sequence[str], heldout: int, seed: int) -> Prompts:
    """Shuffle a list of prompts and keep the last `heldout` of them from training.

    A user's list may be sorted, and steps take consecutive prompts.
    """
    mixed, kept = random.Random(seed).sample(texts, len(texts)), len(texts) - heldout
    return Prompts(tuple(mixed[:kept]), tuple(mixed[kept:]))


def default_prompts(config: TrainConfig, wanted: int) -> Sequence[str]:
    """Return the captions of the exemplar sets if they are enough, or prompts for music of all kinds.

    Which it is, is said on stderr.
    """
    texts, source = described(config), "the captions of the exemplar sets"
    if len(texts) < wanted:
        texts, source = read_texts(shipped_prompts()), f"{MUSIC}, which ships with dragon_train"
    if leads():
        print(f"prompts: {source}; --prompts FILE names others", file=sys.stderr)
    return texts


def shipped_prompts() -> Path:
    """Return the path of the shipped list of prompts for music of all kinds."""
    return Path(str(files("dragon_train"))) / MUSIC


def described(config: TrainConfig) -> Sequence[str]:
    """Return the captions of the reward's exemplar sets, without repetitions: what the sets hold is what is wanted."""
    sets = [part.exemplar_set for part in compose_mixture(config.reward).parts]
    return list(dict.fromkeys(caption for chosen in sets if chosen for caption in captions(chosen)))
