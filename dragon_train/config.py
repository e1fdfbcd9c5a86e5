"""The trainer's configuration: a frozen dataclass from TOML, every key and value checked before work starts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_origin, get_type_hints

from dragon_rewards.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHOICES = {"pairing": ("paired", "unpaired"), "tuning": ("lora", "all"), "precision": ("no", "bf16", "fp16")}
AT_LEAST = {
    "steps": 1,
    "prompts_per_step": 2,
    "epochs": 1,
    "minibatch": 1,
    "microbatch": 0,
    "sampling_batch": 0,
    "lora_rank": 1,
    "demonstration_steps": 0,
    "guidance": 0.0,
    "pool": 0,
    "keep": 0.0,
    "learning_rate": 0.0,
    "beta": 0.0,
    "ema": 0.0,
    "heldout_prompts": 0,
    "heldout_every": 1,
    "patience": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class TrainConfig:
    """One tuning run.

    Attributes:
        reward: what is maximised: the name of a reward, or several with weights,
            as in "dataset-fad:clap@airs + 0.5 * clap-score:clap".
        at_least: rewards that are to stay where the untuned model has them.
        pipeline: the name of the pipeline that is tuned, the folder of a saved one, or owner/name on the
            hub, owner/name@revision for one commit, tag or branch of it.
        objective: the name of the objective.
        options: the objective's own settings.
        pairing: `paired` (clips of the same prompt compete) or `unpaired` (all clips of a step compete).
        steps: on-policy steps; each samples two sets of clips for the same prompts.
        prompts_per_step: clips in each of the two sets.
        sampling_batch: most clips that are sampled or decoded at once; 0 is what the pipeline suggests.
        epochs: passes over one step's demonstrations, each with fresh noise.
        minibatch: most pairs in one gradient step.
        microbatch: most pairs at once in memory, whose gradients are added up; 0 is the whole minibatch.
        learning_rate: of AdamW, without weight decay.
        beta: strength of the pull toward the reference, where the objective has one.
        tuning: `lora` adapters, or `all` weights of the denoiser.
        lora_rank: rank of the adapters.
        lora_targets: names of the layers that get one; by default the attention's projections.
        ema: decay of an exponential moving average of the tuned weights, which is then the result; 0 is none.
        precision: `no` (float32), `bf16` or `fp16`: of the frozen weights and of what autocast allows.
        gradient_checkpointing: compute activations twice rather than keep them.
        compile: compile the denoiser: a minute at the start, and faster steps on a GPU.
        demonstration_steps: diffusion steps of on-policy generations; 0 is what the pipeline suggests.
        guidance: classifier-free guidance of on-policy generations; 1 is none, 0 what the pipeline suggests.
        pool: earlier steps whose generations, with both sets of the step, count beside D+ in a distribution reward;
            0 is the paper's rule, D+ alone.
        keep: share of the pairs that learn: those that lose most reward when winner and loser trade places.
        heldout: further rewards that are watched and not maximised, so that reward hacking shows.
        heldout_prompts: prompts, kept from training, on which they and the reward are compared with the untuned model.
        heldout_every: steps from one comparison to the next.
        patience: comparisons without a better mean win rate of the held-out rewards before tuning stops, its best
            weights the result; 0 is never.
        trackers: of accelerate (`tensorboard`, `wandb`, ...), which are told every figure.
        seed: of prompts, generations, selection and noise.
    """

    reward: str
    at_least: tuple[str, ...] = ()
    pipeline: str = "embedded"
    objective: str = "dpo"
    options: Mapping[str, float] = field(default_factory=dict, hash=False)
    pairing: str = "paired"
    steps: int = 10
    prompts_per_step: int = 16
    sampling_batch: int = 0
    epochs: int = 2
    minibatch: int = 32
    microbatch: int = 0
    learning_rate: float = 1e-4
    beta: float = 500.0
    tuning: str = "lora"
    lora_rank: int = 8
    lora_targets: tuple[str, ...] = ()
    ema: float = 0.0
    precision: str = "no"
    gradient_checkpointing: bool = False
    compile: bool = False
    demonstration_steps: int = 0
    guidance: float = 0.0
    pool: int = 0
    keep: float = 1.0
    heldout: tuple[str, ...] = ()
    heldout_prompts: int = 0
    heldout_every: int = 1
    patience: int = 0
    trackers: tuple[str, ...] = ()
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
        if self.demonstration_steps == 1 or 0 < self.guidance < 1:
            raise ConfigError(
                "demonstration_steps must be at least 2 and guidance at least 1, or 0 for the pipeline's own"
            )
        if (self.heldout or self.patience) and not self.heldout_prompts:
            raise ConfigError("heldout and patience compare on prompts kept from training: set heldout_prompts, say 64")
        if self.patience and not self.heldout:
            raise ConfigError('patience = ...: name the rewards to stop by, as in heldout = ["clap-score:clap"]')


def check_type(key: str, value: object, kind: Any) -> None:
    """An int may stand for a float; a bool stands for nothing but itself."""
    if get_origin(kind) is tuple:
        wanted, fits = "a list of names", isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    elif get_origin(kind) is Mapping:
        wanted, fits = "a table of numbers", isinstance(value, Mapping) and {*map(type, value.values())} <= {int, float}
    else:
        wanted, fits = kind.__name__, type(value) in ({int, float} if kind is float else {kind})
    if not fits:
        raise ConfigError(f"{key} = {value!r}: must be {wanted}, not {type(value).__name__}")


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
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        return TrainConfig(**given)
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
