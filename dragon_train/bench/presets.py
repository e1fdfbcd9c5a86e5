"""Presets of the benchmark, which are data in TOML and are checked like any configuration."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  a field's type
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_rewards.mixture import Mixture, compose_mixture
from dragon_train.config import Count, Guidance, Steps, read_config, train_config
from dragon_train.fields import check_fields, check_keys
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from dragon_rewards.rewards import AnyReward
    from dragon_train.config import TrainConfig


SMALLEST_SET = 2
BESIDE, WEIGHT = "beside", "weight"


@dataclass(frozen=True)
class Preset:
    """The size of a benchmark: how long each model is tuned, and on how many clips the models are compared.

    Attributes:
        name: of the preset, or the path of its file.
        heldout_prompts: prompts on which the tuned and the untuned model are compared.
        inference_steps: diffusion steps of those generations; 0 is what the pipeline suggests.
        subset_size: clips in each matched subset that a distribution reward judges.
        rounds: random partitions of the prompts into such subsets.
        train: the trainer's settings.
        rewards: settings that override `train`, by a pattern of the names of rewards; of several patterns that match,
            later ones win.
        beside: a reward, or a mixture, that every run maximises beside its target; a term that is the target itself
            is left out. An empty text is none. Tables of `rewards` may override it.
        weight: the factor of the target where something is beside it. Tables of `rewards` may override it.
        guidance: classifier-free guidance of those generations; 1 is none, 0 what the pipeline suggests.

    Raises:
        ConfigError: a field has a value that it does not allow.
    """

    name: str
    heldout_prompts: Count
    inference_steps: Steps
    subset_size: Count
    rounds: Annotated[int, Meta(ge=1, le=10**5)]
    train: Mapping[str, Any] = field(default_factory=dict)
    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guidance: Guidance = 1.0
    beside: str = ""
    weight: Annotated[float, Meta(gt=0, le=1e9)] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not SMALLEST_SET <= self.subset_size <= self.heldout_prompts:
            raise ConfigError(
                f"subset_size = {self.subset_size}: must lie between {SMALLEST_SET} and {self.heldout_prompts} prompts"
            )

    @property
    def pipeline(self) -> str:
        """The name of the pipeline that is tuned unless the user names another."""
        return str(self.train.get("pipeline", EMBEDDED))

    def config(self, reward: AnyReward, seed: int) -> TrainConfig:
        """Return the settings of the tuning run toward one reward, and what the preset maximises beside it.

        Raises:
            ConfigError: the preset has a setting that the trainer refuses.
            DragonError: what is beside the reward does not compose.
        """
        values = {BESIDE: self.beside, WEIGHT: self.weight, **self.train}
        for pattern, overriding in self.rewards.items():
            if fnmatchcase(reward.name, pattern):
                values.update(overriding)
        own = {key: values.pop(key) for key in (BESIDE, WEIGHT)}
        try:
            chosen = replace(self, **own)
        except ConfigError as error:
            raise ConfigError(f"preset {self.name}: {error}") from None
        if "start_from" in values:
            raise ConfigError(
                f"preset {self.name}: start_from is of `dragon train` alone; a benchmark tunes a pipeline"
            )
        target = with_others(reward, chosen.weight, chosen.beside)
        return train_config({**values, "reward": target.name, "seed": seed}, f"preset {self.name}")


def with_others(reward: AnyReward, weight: float, others: str) -> AnyReward:
    """Return the mixture of a reward, by its weight, and of the terms of an expression that are none of its parts.

    Raises:
        ComposeError: the expression is none, or a name in it does not compose.
        UnknownNameError: no plugin registered one of the parts.
    """
    if not others:
        return reward
    mixed = compose_mixture(others)
    own = {part.name for part in reward.parts}
    kept = [term for term in zip(mixed.parts, mixed.weights, strict=True) if term[0].name not in own]
    if not kept:
        return reward
    parts, weights = zip(*kept, strict=True)
    return Mixture((*reward.parts, *parts), (*(weight * factor for factor in reward.weights), *weights))


def builtin_presets() -> dict[str, Mapping[str, Any]]:
    """Return the fields of each preset that ships with the package, by name."""
    return read_config(Path(str(files("dragon_train.bench"))) / "presets.toml")


def load_preset(name_or_path: str) -> Preset:
    """Load a shipped preset by its name, or the preset that a TOML file holds at its top level by the path of the file.

    Raises:
        UnknownNameError: no preset of this name is shipped.
        ConfigError: the file cannot be read, or a field is unknown, missing or not allowed.
    """
    if name_or_path.endswith(".toml"):
        values: Mapping[str, Any] = read_config(Path(name_or_path))
    elif name_or_path in builtin_presets():
        values = builtin_presets()[name_or_path]
    else:
        raise UnknownNameError("preset", name_or_path, builtin_presets())
    return preset_of(name_or_path, values)


def preset_of(name: str, values: Mapping[str, Any]) -> Preset:
    """Make a preset of its name and its fields.

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
