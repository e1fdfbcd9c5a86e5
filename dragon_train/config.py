"""The trainer's configuration: a frozen dataclass from TOML, every key and value checked before work starts."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_type_hints

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CHOICES = {"pairing": ("paired", "unpaired"), "tuning": ("all", "lora")}
AT_LEAST = {
    "steps": 1,
    "prompts_per_step": 2,
    "epochs": 1,
    "minibatch": 1,
    "lora_rank": 1,
    "demonstration_steps": 2,
    "guidance": 1.0,
    "pool": 0,
    "keep": 0.0,
    "learning_rate": 0.0,
    "beta": 0.0,
    "seed": 0,
}


@dataclass(frozen=True)
class TrainConfig:
    """One tuning run.

    Attributes:
        reward: the name of the reward that is maximised.
        pipeline: the name of the pipeline that is tuned.
        objective: the name of the objective.
        pairing: `paired` (clips of the same prompt compete) or `unpaired` (all clips of a step compete).
        steps: on-policy steps; each samples two sets of clips for the same prompts.
        prompts_per_step: clips in each of the two sets.
        epochs: passes over one step's demonstrations, each with fresh noise.
        minibatch: most pairs in one gradient step.
        learning_rate: of AdamW, without weight decay.
        beta: strength of the pull toward the reference.
        tuning: `all` weights of the denoiser, or `lora` adapters.
        lora_rank: rank of the adapters.
        demonstration_steps: diffusion steps of on-policy generations.
        guidance: classifier-free guidance of on-policy generations; 1 is none.
        pool: earlier steps whose generations, with both sets of the step, count beside D+ in a distribution reward;
            0 is the paper's rule, D+ alone.
        keep: share of the pairs that learn: those that lose most reward when winner and loser trade places.
        seed: of prompts, generations, selection and noise.
    """

    reward: str
    pipeline: str = "embedded"
    objective: str = "dpo"
    pairing: str = "paired"
    steps: int = 10
    prompts_per_step: int = 16
    epochs: int = 2
    minibatch: int = 32
    learning_rate: float = 5e-5
    beta: float = 500.0
    tuning: str = "all"
    lora_rank: int = 8
    demonstration_steps: int = 8
    guidance: float = 1.0
    pool: int = 0
    keep: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for key, kind in get_type_hints(TrainConfig).items():
            check_type(key, getattr(self, key), kind)
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise ConfigError(f"{key} = {getattr(self, key)!r}: choose one of {', '.join(choices)}")
        for key, least in AT_LEAST.items():
            if not getattr(self, key) >= least:
                raise ConfigError(f"{key} = {getattr(self, key)!r}: must be at least {least}")


def check_type(key: str, value: object, kind: type) -> None:
    """An int may stand for a float; a bool stands for nothing but itself."""
    fits = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
    if not fits:
        raise ConfigError(f"{key} = {value!r}: must be {kind.__name__}, not {type(value).__name__}")


def check_keys(values: Mapping[str, Any], known: Sequence[str], source: str) -> None:
    """Refuse a key that nothing reads."""
    for key in values:
        if key not in known:
            nearest = get_close_matches(key, known, n=1) or known
            raise ConfigError(f"{source}: unknown key '{key}'; did you mean {nearest[0]}? Keys: {', '.join(known)}")


def train_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Check every key and value of a mapping that came from `source`."""
    check_keys(values, [field.name for field in fields(TrainConfig)], source)
    if "reward" not in values:
        raise ConfigError(f"{source}: 'reward' is missing; name one, for example reward = \"vendi:clap\"")
    try:
        return TrainConfig(**values)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def read_config(path: Path) -> dict[str, Any]:
    """The table of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
