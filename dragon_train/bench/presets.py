"""Presets of the benchmark: data, checked like any configuration."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  a field's type
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_train.config import Count, Guidance, Steps, read_config, train_config
from dragon_train.fields import check_fields, check_keys
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig


SMALLEST_SET = 2


@dataclass(frozen=True)
class Preset:
    """How thorough a benchmark is.

    Attributes:
        name: of the preset, or the path of its file.
        heldout_prompts: prompts on which the tuned and the untuned model are compared.
        inference_steps: diffusion steps of those generations; 0 is what the pipeline suggests.
        subset_size: clips in each matched subset that a distribution reward judges.
        rounds: random partitions of the prompts into such subsets.
        train: the trainer's settings.
        rewards: pattern of reward names -> what overrides them there; of several that match, later ones win.
        guidance: classifier-free guidance of those generations; 1 is none, 0 what the pipeline suggests.
    """

    name: str
    heldout_prompts: Count
    inference_steps: Steps
    subset_size: Count
    rounds: Annotated[int, Meta(ge=1, le=10**5)]
    train: Mapping[str, Any] = field(default_factory=dict)
    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guidance: Guidance = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not SMALLEST_SET <= self.subset_size <= self.heldout_prompts:
            raise ConfigError(
                f"subset_size = {self.subset_size}: must lie between {SMALLEST_SET} and {self.heldout_prompts} prompts"
            )

    @property
    def pipeline(self) -> str:
        """What is tuned unless another is named."""
        return str(self.train.get("pipeline", EMBEDDED))

    def config(self, reward: Reward, seed: int) -> TrainConfig:
        """The tuning run of one reward."""
        values = dict(self.train)
        for pattern, own in self.rewards.items():
            if fnmatchcase(reward.name, pattern):
                values.update(own)
        return train_config({**values, "reward": reward.name, "seed": seed}, f"preset {self.name}")


def builtin_presets() -> dict[str, Mapping[str, Any]]:
    """The presets that ship with the package."""
    return read_config(Path(str(files("dragon_train.bench"))) / "presets.toml")


def load_preset(name_or_path: str) -> Preset:
    """A shipped preset, or the one that a TOML file holds at its top level."""
    if name_or_path.endswith(".toml"):
        values: Mapping[str, Any] = read_config(Path(name_or_path))
    elif name_or_path in builtin_presets():
        values = builtin_presets()[name_or_path]
    else:
        raise UnknownNameError("preset", name_or_path, builtin_presets())
    return preset_of(name_or_path, values)


def preset_of(name: str, values: Mapping[str, Any]) -> Preset:
    """The preset of this name with these fields.

    Raises:
        ConfigError: a field is unknown or missing, or has a value that it does not allow.
    """
    check_keys(values, [entry.name for entry in fields(Preset) if entry.name != "name"], f"preset {name}")
    missing = sorted({"heldout_prompts", "inference_steps", "subset_size", "rounds"} - set(values))
    if missing:
        raise ConfigError(f"preset {name}: {', '.join(missing)} missing")
    try:
        return Preset(name, **values)
    except ConfigError as error:
        raise ConfigError(f"preset {name}: {error}") from None
