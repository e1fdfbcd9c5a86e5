"""The workload that many runs share: the pipeline that is tuned, and the prompts it is tuned on and compared on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote
from typing import TYPE_CHECKING, Literal

from dragon_rewards.errors import ConfigError, TableError
from dragon_rewards.storage.table_files import read_table, texts_of
from dragon_rewards.terminal.printable import counted
from dragon_rewards.weights import require_weights
from dragon_train.embedded.prompts import prompts
from dragon_train.prompt_table import further_columns
from dragon_train.prompts import EMBEDDED, divided, shipped_prompts
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dragon_train.config import TrainConfig

Role = Literal["exam", "watch"]
SEED = 0  # of the order of a list: all seeds of a study are compared on the same prompts


@dataclass(frozen=True)
class Workload:
    """A pipeline that is tuned, with the prompts for tuning and the prompts for comparison.

    Attributes:
        pipeline: its name, the folder of a saved one, or owner/name on the hub.
        train: prompts that runs are tuned on.
        heldout: prompts that they are compared on, which tuning never sees.
        file: that the prompts are from, if a user named one.
        role: of the prompts for comparison.
    """

    pipeline: str
    train: tuple[str, ...]
    heldout: tuple[str, ...]
    file: str = ""
    role: Role = "exam"

    @property
    def digest(self) -> str:
        """A digest of all prompts, 16 hexadecimal digits, by which a folder of results knows the prompts again."""
        return sha256(json.dumps([self.train, self.heldout]).encode()).hexdigest()[:16]

    @property
    def options(self) -> str:
        """The options that name the workload on a command line, each after a space; empty for the default."""
        given = {"--pipeline": self.pipeline if self.pipeline != EMBEDDED else "", "--prompts": self.file}
        return "".join(f" {option} {quote(value)}" for option, value in given.items() if value)

    def compared_on(self, count: int) -> Sequence[str]:
        """Return the first `count` of the held-out prompts.

        Raises:
            ConfigError: there are fewer.
        """
        if count > len(self.heldout):
            raise ConfigError(f"heldout_prompts = {count}: there are {len(self.heldout)}")
        return self.heldout[:count]

    def check(self, configs: Iterable[TrainConfig]) -> None:
        """Refuse settings of tuning runs that take more prompts in a step than there are to train on.

        Raises:
            ConfigError: names the reward of the run.
        """
        for config in configs:
            if config.prompts_per_step > len(self.train):
                raise ConfigError(
                    f"prompts_per_step = {config.prompts_per_step} ({config.reward}), of only "
                    f"{counted(len(self.train), 'prompt')} to train on; give --prompts a longer list, or take fewer "
                    "per step"
                )


def choose_workload(pipeline: str, path: Path | None, heldout: int, role: Role = "exam") -> Workload:
    """Choose a pipeline and the prompts of a file, of which `heldout` at random are kept for comparison.

    Without a file, the embedded pipeline has prompts of its own, and others take the shipped prompts, music of all
    kinds.

    Args:
        pipeline: its name, the folder of a saved one, or owner/name on the hub.
        path: the file of prompts, or None.
        heldout: how many prompts to keep for comparison; which ones does not depend on the seed of a run.
        role: of the prompts that are compared on: `exam` for claims, `watch` for choosing settings; no prompt has both.

    Raises:
        UnknownNameError: there is no such pipeline.
        WeightsError: its weights are not on this machine.
        ConfigError: the file cannot be read, or has no more prompts than are kept from training.
    """
    info = load_train_registry().pipeline(pipeline)
    require_weights(f"pipeline '{pipeline}'", info.weights)
    if path is None and pipeline == EMBEDDED:
        return Workload(pipeline, tuple(prompts("train")), tuple(prompts(role)), role=role)
    source = path or shipped_prompts()
    texts, kept = plain_texts(source), heldout if role == "exam" else 2 * heldout
    if len(texts) <= kept:
        raise ConfigError(
            f"{source.name}: {counted(len(texts), 'prompt')}, of which heldout_prompts = {heldout} leave none"
        )
    rest, exam = divided(texts, heldout, SEED)
    parts = (rest, exam) if role == "exam" else (rest[:-heldout], rest[-heldout:])
    return Workload(pipeline, *parts, str(path or ""), role)


def plain_texts(path: Path) -> list[str]:
    """Read the prompts of a file that has no further columns, as models are compared on texts alone.

    Raises:
        TableError: the file cannot be read, or has a further column; the message names it.
    """
    table = read_table(path)
    texts, further = texts_of(table), further_columns(table)
    if further:
        raise TableError(
            f"'{path}' has a column '{further[0]}', and `dragon bench` and `dragon ablate` take prompts alone; leave "
            "it out, or tune with `dragon train`"
        )
    return texts
