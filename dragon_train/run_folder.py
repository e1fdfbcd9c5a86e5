"""The folder of a tuning run, as can be told without torch: whose it is, and whether it is finished."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_rewards.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dragon_train.config import TrainConfig

CONFIG, CHECKPOINT, METRICS, PROMPTS = "config.json", "checkpoint.pt", "metrics.csv", "prompts.json"
ADAPTER, DENOISER = "adapter_model.safetensors", "denoiser"  # results; the former as peft names it
SUGGESTED = ("demonstration_steps", "guidance", "sampling_batch")  # settings for which 0 stands for the pipeline's own


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
    def settings(self) -> dict[str, Any]:
        """As config.json has them."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self.config)))
        return settings

    @property
    def prompts(self) -> dict[str, list[str]]:
        """As prompts.json has them."""
        return {"train": list(self.train), "heldout": list(self.heldout)}

    def check(self, folder: Path) -> None:
        """Refuse a folder that holds another run; a setting that is left to the pipeline may be any there.

        Raises:
            ConfigError: says in what it differs.
        """
        wanted = self.settings if (folder / CONFIG).exists() else {}
        found = stored_config(folder) if wanted else {}
        for key, value in wanted.items():
            if found.get(key) != value and not (key in SUGGESTED and value == 0):
                raise ConfigError(
                    f"{folder} holds a run with {key} = {found.get(key)!r}, not {value!r}; "
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
            write_text(folder / PROMPTS, json.dumps(self.prompts, indent=0, ensure_ascii=False) + "\n")
        if not (folder / CONFIG).exists():
            stored = {"config": self.settings, "provenance": provenance}
            write_text(folder / CONFIG, json.dumps(stored, indent=2) + "\n")


def stored_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        ConfigError: its file cannot be read.
    """
    path = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error!r}); restore it, or choose another --out") from None
    return config


def kept_prompts(folder: Path) -> dict[str, list[str]]:
    """The prompts of a run, `train` and `heldout`.

    Raises:
        ConfigError: they are not there.
    """
    path = folder / PROMPTS
    try:
        kept: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore it, or run the command again") from None
    return kept


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
