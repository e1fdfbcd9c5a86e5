"""The folder of a tuning run, as can be told without torch: whose it is, and whether it is finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec import Struct, to_builtins

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.decoding import Count, read_json
from dragon_rewards.storage.files import write_text
from dragon_train.config import train_config

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dragon_train.config import TrainConfig

CONFIG, CHECKPOINT, METRICS, PROMPTS = "config.json", "checkpoint.pt", "metrics.csv", "prompts.json"
ADAPTER, DENOISER = "adapter_model.safetensors", "denoiser"  # results; the former as peft names it
SUGGESTED = ("demonstration_steps", "guidance", "sampling_batch")  # settings for which 0 stands for the pipeline's own


class Plugin(TypedDict):
    """A plugin that was loaded."""

    name: str
    package: str
    version: str


class Provenance(TypedDict, total=False):
    """What results were made with, of what `report.provenance` says that which is read."""

    python: str
    platform: str
    packages: dict[str, str]
    plugins: list[Plugin]
    failed_plugins: list[str]
    cpus: Count | None
    threads: Count
    device: str


class StoredRun(Struct, frozen=True, forbid_unknown_fields=True):
    """What config.json holds: the settings of a run, and what it was made with."""

    config: dict[str, Any]
    provenance: Provenance = {}


class KeptPrompts(Struct, frozen=True, forbid_unknown_fields=True):
    """What prompts.json holds: the prompts that a run is tuned on, and those that it keeps from training."""

    train: tuple[str, ...]
    heldout: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """What a folder belongs to.

    Attributes:
        config: the run's.
        train: prompts that it is tuned on.
        heldout: prompts that it keeps from training.
    """

    config: TrainConfig
    train: Sequence[str]
    heldout: Sequence[str]

    @property
    def prompts(self) -> KeptPrompts:
        """As prompts.json has them."""
        return KeptPrompts(tuple(self.train), tuple(self.heldout))

    def check(self, folder: Path) -> None:
        """Refuse a folder that holds another run; a setting that is left to the pipeline may be any there.

        Raises:
            DragonError: says in what it differs, or what of it cannot be read.
        """
        wanted = asdict(self.config)
        found = asdict(stored_config(folder)) if (folder / CONFIG).exists() else wanted
        for key, value in wanted.items():
            if found[key] != value and not (key in SUGGESTED and value == 0):
                raise ConfigError(
                    f"{folder} holds a run with {key} = {found[key]!r}, not {value!r}; "
                    "choose another --out, or delete the folder"
                )
        if (folder / PROMPTS).exists() and kept_prompts(folder) != self.prompts:
            raise ConfigError(
                f"{folder} holds a run on other prompts (by prompts, seed or heldout_prompts); give the same, choose "
                "another --out, or delete the folder"
            )

    def write(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Claim a folder, unless it is claimed already."""
        if not (folder / PROMPTS).exists():
            write_text(folder / PROMPTS, json.dumps(to_builtins(self.prompts), indent=0, ensure_ascii=False) + "\n")
        if not (folder / CONFIG).exists():
            stored = {"config": asdict(self.config), "provenance": provenance}
            write_text(folder / CONFIG, json.dumps(stored, indent=2) + "\n")


def stored_run(folder: Path) -> tuple[TrainConfig, Provenance]:
    """The configuration of a run, and what it was made with.

    Raises:
        DragonError: its file cannot be read, or holds no configuration.
    """
    path = folder / CONFIG
    stored = read_json(path, StoredRun, "restore it, or choose another --out")
    return train_config(stored.config, str(path)), stored.provenance


def stored_config(folder: Path) -> TrainConfig:
    """The configuration of a run; raises as `stored_run`."""
    return stored_run(folder)[0]


def kept_prompts(folder: Path) -> KeptPrompts:
    """The prompts of a run.

    Raises:
        DragonError: they are not there, or cannot be read.
    """
    return read_json(folder / PROMPTS, KeptPrompts, "restore it, or run the command again")


def has_result(folder: Path) -> bool:
    """Whether a tuning was stored there."""
    return (folder / ADAPTER).is_file() or (folder / DENOISER).is_dir()


def check_result(folder: Path) -> None:
    """Whether there is one.

    Raises:
        ConfigError: there is none.
    """
    if not has_result(folder):
        raise ConfigError(f"{folder}: no finished run; finish it with dragon train --out {folder}")
