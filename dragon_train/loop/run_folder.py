"""Read the folder of a tuning run as far as that needs no torch: whose it is, and whether it is finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec import Struct, structs

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.decoding import Count, read_json
from dragon_rewards.storage.files import write_text
from dragon_train.config import train_config
from dragon_train.prompt_table import Entry, Prompts, as_entry, as_prompt
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dragon_train.config import TrainConfig

CONFIG, CHECKPOINT, METRICS, PROMPTS = "config.json", "checkpoint.pt", "metrics.csv", "prompts.json"
FINAL_CHECKPOINT = "final_checkpoint.pt"  # the state after the last step of a finished run, which more steps go on from
ADAPTER, DENOISER = "adapter_model.safetensors", "denoiser"  # results; the former as peft names it
ADAPTER_CONFIG = "adapter_config.json"  # as peft names it
COMPARED_APART = ("steps", "start_from")
SUGGESTED = ("demonstration_steps", "guidance", "sampling_batch")  # settings for which 0 stands for the pipeline's own


class Plugin(TypedDict):
    """A plugin that was loaded when a run was made."""

    name: str
    package: str
    version: str


class Provenance(TypedDict, total=False):
    """The versions, plugins and device that results were made with, as far as they are read again.

    `dragon_rewards.provenance` records them.
    """

    python: str
    platform: str
    packages: dict[str, str]
    plugins: list[Plugin]
    failed_plugins: list[str]
    cpus: Count | None
    threads: Count
    device: str
    continued: list[dict[str, Any]]
    start_from: str


class StoredRun(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of config.json: the settings of a run, and what it was made with."""

    config: dict[str, Any]
    provenance: Provenance = {}


class KeptPrompts(Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of prompts.json: the prompts that a run is tuned on, and the prompts that it keeps from training.

    A prompt that has columns is an object of them.
    """

    train: tuple[Entry, ...]
    heldout: tuple[Entry, ...]


@dataclass(frozen=True)
class Claim:
    """The configuration and the prompts of the run that a folder belongs to.

    Attributes:
        config: the configuration of the run.
        train: the prompts that it is tuned on.
        heldout: the prompts that it keeps from training.
    """

    config: TrainConfig
    train: Sequence[str]
    heldout: Sequence[str]

    @property
    def prompts(self) -> KeptPrompts:
        """The prompts in the form that prompts.json holds."""
        return KeptPrompts(tuple(map(as_entry, self.train)), tuple(map(as_entry, self.heldout)))

    def check(self, folder: Path) -> None:
        """Refuse a folder that holds another run; a setting that is left to the pipeline may have any value there.

        A run may be given more steps than it has. What it starts from is known by its contents, not by its path:
        `loop.start` compares that.

        Raises:
            DragonError: the message says in what it differs, or what of it cannot be read.
        """
        wanted = with_defaults(self.config)
        found = with_defaults(stored_config(folder)) if (folder / CONFIG).exists() else wanted
        check_steps(folder, found["steps"], wanted["steps"])
        for key, value in wanted.items():
            if found[key] != value and key not in COMPARED_APART and not (key in SUGGESTED and value == 0):
                raise ConfigError(
                    f"{folder} holds a run with {key} = {found[key]!r}, not {value!r}; "
                    "choose another --out, or delete the folder"
                )
        if (folder / PROMPTS).exists() and read_kept(folder) != self.prompts:
            raise ConfigError(
                f"{folder} holds a run on other prompts (by prompts, their columns, seed or heldout_prompts); give the "
                "same, choose another --out, or delete the folder"
            )

    def write(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Write the configuration and the prompts into a folder, unless they are there already.

        Of a run that goes on for more steps, the configuration is given these, and `continued` in the provenance has
        what they are made with.
        """
        if not (folder / PROMPTS).exists():
            write_text(folder / PROMPTS, json.dumps(structs.asdict(self.prompts), indent=0, ensure_ascii=False) + "\n")
        if not (folder / CONFIG).exists():
            stored = {"config": asdict(self.config), "provenance": provenance}
            write_text(folder / CONFIG, json.dumps(stored, indent=2) + "\n")
        elif self.goes_on(folder):
            stored = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            made_with = {"from_steps": stored["config"]["steps"], **provenance}
            stored.setdefault("provenance", {}).setdefault("continued", []).append(made_with)
            stored["config"]["steps"] = self.config.steps
            write_text(folder / CONFIG, json.dumps(stored, indent=2) + "\n")

    def goes_on(self, folder: Path) -> bool:
        """Return whether the folder holds this run with fewer steps."""
        return (folder / CONFIG).exists() and stored_config(folder).steps < self.config.steps


def check_steps(folder: Path, there: int, wanted: int) -> None:
    """Refuse fewer steps than a run has, and more where the state that they would go on from is gone.

    Args:
        folder: of the run.
        there: the number of steps that it has, done or not.
        wanted: the number that it is to have.

    Raises:
        ConfigError: the run cannot have as many steps as are wanted.
    """
    if wanted < there:
        raise ConfigError(
            f"{folder} holds a run with steps = {there}, which may become more, not {wanted}; choose another --out, or "
            "delete the folder"
        )
    if wanted > there and is_finished(folder) and not (folder / FINAL_CHECKPOINT).exists():
        raise ConfigError(
            f"{folder} holds a finished run with steps = {there}, and no {FINAL_CHECKPOINT}, from which {wanted} steps "
            "would go on; choose another --out"
        )


def is_finished(folder: Path) -> bool:
    """Return whether the folder holds a run's result and no step after it: nothing of the run is left to do."""
    return has_result(folder) and not (folder / CHECKPOINT).exists()


def with_defaults(config: TrainConfig) -> dict[str, Any]:
    """Return all settings, with the defaults of options that are not there, as in runs from before there were these."""
    info = load_train_registry().objectives.get(config.objective)
    return {**asdict(config), "options": {**(info.defaults if info else {}), **config.options}}


def stored_run(folder: Path) -> tuple[TrainConfig, Provenance]:
    """Return the configuration of a run, and what it was made with.

    Raises:
        DragonError: its file cannot be read, or holds no configuration.
    """
    path = folder / CONFIG
    stored = read_json(path, StoredRun, "restore it, or choose another --out")
    return train_config(stored.config, str(path)), stored.provenance


def stored_config(folder: Path) -> TrainConfig:
    """Return the configuration of a run.

    Raises:
        DragonError: its file cannot be read, or holds no configuration.
    """
    return stored_run(folder)[0]


def kept_prompts(folder: Path) -> Prompts:
    """Return the prompts of a run, with their columns if they have some.

    Raises:
        DragonError: they are not there, or cannot be read.
    """
    kept = read_kept(folder)
    return Prompts(tuple(map(as_prompt, kept.train)), tuple(map(as_prompt, kept.heldout)))


def read_kept(folder: Path) -> KeptPrompts:
    """Return the contents of prompts.json.

    Raises:
        DragonError: it is not there, or cannot be read.
    """
    return read_json(folder / PROMPTS, KeptPrompts, "restore it, or run the command again")


def steps_done(folder: Path) -> int:
    """Return how many training steps a run has recorded.

    The lines of metrics.csv are counted, not read: that is enough to show progress.
    """
    path = folder / METRICS
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def has_result(folder: Path) -> bool:
    """Return whether the result of a tuning is stored in the folder."""
    return (folder / ADAPTER).is_file() or (folder / DENOISER).is_dir()


def check_result(folder: Path) -> None:
    """Refuse a folder that holds no result of a tuning.

    Raises:
        ConfigError: there is none.
    """
    if not has_result(folder):
        raise ConfigError(f"{folder}: no finished run; finish it with dragon train --out {folder}")
