"""What many runs share: the pipeline that is tuned, and the prompts that it is tuned on and compared on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.table_files import read_texts
from dragon_rewards.weights import require_weights
from dragon_train.prompts import EMBEDDED, divided, of_embedded, shipped_prompts
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dragon_train.config import TrainConfig

SEED = 0  # of the order of a list: all seeds of a study are compared on the same prompts


@dataclass(frozen=True)
class Workload:
    """A pipeline and its prompts.

    Attributes:
        pipeline: its name, the folder of a saved one, or owner/name on the hub.
        train: prompts that runs are tuned on.
        heldout: prompts that they are compared on, which tuning never sees.
        file: that the prompts are from, if a user named one.
    """

    pipeline: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    file: str = ""

    @property
    def digest(self) -> str:
        """Of the prompts."""
        return sha256(json.dumps([self.train, self.heldout]).encode()).hexdigest()[:16]

    @property
    def options(self) -> str:
        """What names it on a command line."""
        given = {"--pipeline": self.pipeline if self.pipeline != EMBEDDED else "", "--prompts": self.file}
        return "".join(f" {option} {quote(value)}" for option, value in given.items() if value)

    def compared_on(self, count: int) -> Sequence[str]:
        """The first of the held-out prompts.

        Raises:
            ConfigError: there are not so many.
        """
        if count > len(self.heldout):
            raise ConfigError(f"heldout_prompts = {count}: there are {len(self.heldout)}")
        return self.heldout[:count]

    def check(self, configs: Iterable[TrainConfig]) -> None:
        """Raises ConfigError where a step of a run takes more prompts than there are."""
        for config in configs:
            if config.prompts_per_step > len(self.train):
                raise ConfigError(
                    f"prompts_per_step = {config.prompts_per_step} ({config.reward}): there are only "
                    f"{len(self.train)} prompts to train on; give --prompts a longer list, or take fewer per step"
                )


def choose_workload(pipeline: str, path: Path | None, heldout: int) -> Workload:
    """A pipeline with the prompts of a file, of which the last `heldout` in random order are kept for comparison.

    Without a file, the embedded pipeline has prompts of its own, and others take music of all kinds.

    Raises:
        UnknownNameError: there is no such pipeline.
        WeightsError: its weights are not on this machine.
        ConfigError: the file cannot be read, or has no more prompts than are kept for comparison.
    """
    info = load_train_registry().pipeline(pipeline)
    require_weights(f"pipeline '{pipeline}'", info.weights)
    if path is None and pipeline == EMBEDDED:
        return Workload(pipeline, *of_embedded())
    source = path or shipped_prompts()
    texts = read_texts(source)
    if len(texts) <= heldout:
        raise ConfigError(f"{source.name}: {len(texts)} prompts, of which heldout_prompts = {heldout} leave none")
    return Workload(pipeline, *divided(texts, heldout, SEED), str(path or ""))
