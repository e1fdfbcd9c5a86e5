"""Define the trainer's configuration: a frozen dataclass from TOML, whose values are checked before work starts."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  a field's type
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.decoding import read_toml
from dragon_train.fields import check_fields, check_keys, with_tuples

if TYPE_CHECKING:
    from pathlib import Path

# Upper bounds are far beyond use: they refuse what would fill the memory, or overflow, long after the start.
Count = Annotated[int, Meta(ge=0, le=10**6)]
Several = Annotated[int, Meta(ge=1, le=10**6)]
Steps = Annotated[int, Meta(ge=0, le=10**4)]  # of diffusion
MOST_GUIDANCE, LAST_SEED = 1e4, 2**63 - 1
Guidance = Annotated[float, Meta(ge=0, le=MOST_GUIDANCE)]
Share = Annotated[float, Meta(ge=0, le=1)]
Seed = Annotated[int, Meta(ge=0, le=LAST_SEED)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]  # finite
Names = tuple[str, ...]
Option = Number | bool | str
Pairing = Literal["paired", "unpaired"]
Tuning = Literal["lora", "all"]
Precision = Literal["no", "bf16", "fp16"]
Constraint = Literal["mean", "share", "clip"]


@dataclass(frozen=True)
class TrainConfig:
    """The settings of one tuning run; each field says what it may be and what it means.

    The descriptions below are the help of the command line and the comments of a written configuration, too.

    Raises:
        ConfigError: a value is not one that its field allows, or two fields contradict each other.
    """

    reward: Annotated[
        str,
        Meta(
            description="The reward that is maximised, or several with weights, as in 'A + 0.5 * B'; see "
            "`dragon list rewards`."
        ),
    ]
    at_least: Annotated[
        Names, Meta(description="A reward that is to stay where the untuned model has it; one or several.")
    ] = ()
    constraint: Annotated[
        Constraint,
        Meta(
            description="How at_least constrains: mean, the mean over clips or the value of a set, by a multiplier; "
            "share, the share of clips below the untuned model's lowest quarter, by a weight; clip, each clip, which "
            "ranks below all others if it is there."
        ),
    ] = "mean"
    pipeline: Annotated[
        str,
        Meta(
            description="The pipeline that is tuned: a name of `dragon list pipelines`, the folder of a saved "
            "pipeline, or owner/name[@revision] on the hub."
        ),
    ] = "embedded"
    objective: Annotated[str, Meta(description="The objective that it learns by; see `dragon list objectives`.")] = (
        "dpo"
    )
    options: Annotated[Mapping[str, Option], Meta(description="The objective's own settings, by name.")] = field(
        default_factory=dict, hash=False
    )
    pairing: Annotated[
        Pairing,
        Meta(description="paired: clips of the same prompt compete; unpaired: all clips of a step compete."),
    ] = "paired"
    steps: Annotated[
        Several,
        Meta(description="The number of on-policy steps; each samples two sets of clips for the same prompts."),
    ] = 10
    prompts_per_step: Annotated[
        int, Meta(ge=2, le=10**6, description="The number of prompts of a step, and of clips in each of its two sets.")
    ] = 16
    sampling_batch: Annotated[
        Count,
        Meta(description="The most clips that are sampled or decoded at once; 0 is what the pipeline suggests."),
    ] = 0
    epochs: Annotated[
        Several, Meta(description="The number of passes over one step's demonstrations, each with fresh noise.")
    ] = 2
    minibatch: Annotated[Several, Meta(description="The most pairs in one gradient step.")] = 32
    microbatch: Annotated[
        Count,
        Meta(
            description="The most pairs that are in memory at once; their gradients are added up. Fewer save memory; 0 "
            "is the whole minibatch."
        ),
    ] = 0
    learning_rate: Annotated[Share, Meta(description="The learning rate of AdamW, without weight decay.")] = 1e-4
    beta: Annotated[
        float,
        Meta(ge=0, le=1e9, description="The strength of the pull toward the reference, where the objective has one."),
    ] = 500.0
    tuning: Annotated[
        Tuning, Meta(description="lora: low-rank adapters learn; all: every weight of the denoiser learns.")
    ] = "lora"
    lora_rank: Annotated[int, Meta(ge=1, le=10**4, description="The rank of the adapters.")] = 8
    lora_targets: Annotated[
        Names,
        Meta(description="The names of the layers that get an adapter; by default the attention's projections."),
    ] = ()
    ema: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="The decay of an exponential moving average of the tuned weights, which is then the result; 0 "
            "keeps no average.",
        ),
    ] = 0.0
    precision: Annotated[
        Precision,
        Meta(description="The precision of the frozen weights, and of what autocast computes in it; no is float32."),
    ] = "no"
    gradient_checkpointing: Annotated[
        bool, Meta(description="Compute activations twice rather than keep them, which is slower and saves memory.")
    ] = False
    compile: Annotated[
        bool,
        Meta(description="Compile the denoiser, which takes a minute at first and makes steps on a GPU faster."),
    ] = False
    demonstration_steps: Annotated[
        Steps,
        Meta(description="The number of diffusion steps of on-policy clips; 0 is what the pipeline suggests."),
    ] = 0
    guidance: Annotated[
        Guidance,
        Meta(
            description="The strength of classifier-free guidance of on-policy clips; 1 is none, 0 is what the "
            "pipeline suggests."
        ),
    ] = 0.0
    pool: Annotated[
        int,
        Meta(
            ge=0,
            le=10**4,
            description="The number of earlier steps whose generations, with both sets of the step, count beside D+ in "
            "a distribution reward; 0 is the paper's rule, by which D+ alone counts.",
        ),
    ] = 0
    keep: Annotated[
        Share,
        Meta(
            description="The share of the pairs that is learnt from: the pairs that lose most reward when winner and "
            "loser trade places."
        ),
    ] = 1.0
    heldout: Annotated[
        Names,
        Meta(description="A further reward, watched and not maximised, so that reward hacking shows; one or several."),
    ] = ()
    heldout_prompts: Annotated[
        Count,
        Meta(
            description="The number of prompts that are kept from training. On them the policy is compared with the "
            "untuned model, by the reward and by `heldout`."
        ),
    ] = 0
    heldout_every: Annotated[
        Several, Meta(description="The number of steps from one comparison on held-out prompts to the next.")
    ] = 1
    patience: Annotated[
        Count,
        Meta(
            description="The number of comparisons without a better mean win rate of the held-out rewards after which "
            "tuning stops, with its best weights as the result; 0 never stops it."
        ),
    ] = 0
    clips_every: Annotated[
        Count,
        Meta(
            description="The number of steps from one set of clips to listen to, in the folder `clips` of the run, to "
            "the next; the untuned model's and the last step's are among them. 0 makes none."
        ),
    ] = 0
    clips: Annotated[
        Several,
        Meta(
            description="The number of clips of such a set: of prompts that are kept from training, if there are any, "
            "and then of the first others, always from the same seeds."
        ),
    ] = 4
    diagnostics: Annotated[
        bool,
        Meta(
            description="Add to every step the share of dormant units of the denoiser and the rank of its update, "
            "which takes a few per cent of a step."
        ),
    ] = False
    trackers: Annotated[
        Names,
        Meta(description="A tracker of accelerate (tensorboard, wandb, ...) to tell every figure; one or several."),
    ] = ()
    start_from: Annotated[
        str,
        Meta(
            description="A folder of weights that the policy starts from, and that its reference has: a finished run, "
            "an adapter that PEFT or diffusers stored, or with tuning = all a denoiser. By default the pipeline's own."
        ),
    ] = ""
    seed: Annotated[
        Seed, Meta(description="The seed of all random choices: of prompts, generations, selection and noise.")
    ] = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.demonstration_steps == 1 or 0 < self.guidance < 1:
            raise ConfigError(
                "demonstration_steps must be at least 2 and guidance at least 1, or 0 for the pipeline's own"
            )
        if (self.heldout or self.patience) and not self.heldout_prompts:
            raise ConfigError("heldout and patience compare on prompts kept from training: set heldout_prompts, say 64")
        if self.constraint != "mean" and not self.at_least:
            raise ConfigError(f'constraint = "{self.constraint}" is of the rewards that at_least names: name one')
        if self.patience and not self.heldout:
            raise ConfigError('patience = ...: name the rewards to stop by, as in heldout = ["clap-score:clap"]')


def train_config(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Make a configuration of a mapping that came from `source`; every key and value is checked.

    Raises:
        ConfigError: a key is unknown or missing, or has a value that its field does not allow.
    """
    check_keys(values, [each.name for each in fields(TrainConfig)], source)
    if "reward" not in values:
        raise ConfigError(f"{source}: 'reward' is missing; name one, for example reward = \"vendi:clap\"")
    try:
        return TrainConfig(**with_tuples(values))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def read_config(path: Path) -> dict[str, Any]:
    """Read the table of a TOML file, whose keys and values are not checked yet.

    Raises:
        DragonError: the file is missing, cannot be read, or is no TOML.
    """
    return read_toml(path, dict[str, Any], "correct it, or give another file")
