"""Define the settings that objectives have of their own: what each may be, its default and what it means.

A run's `options` gives them values. Nothing here imports torch, as `dragon list objectives` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Advantage = Literal["std", "group", "rank", "jury"]
GroupSize = Annotated[int, Meta(ge=2, le=10**4, description="The number of clips that are generated for each prompt.")]
AdvantageRule = Annotated[
    Advantage,
    Meta(
        description="How a clip's worth within its group is measured: std, in standard deviations of the step; "
        "group, of its group; rank, by the share of the group that it beats; jury, so for each part of a mixture."
    ),
]
TieWidth = Annotated[
    float,
    Meta(
        ge=0,
        le=1e3,
        description="The difference of two clips, in standard deviations of the step, up to which rank and jury "
        "call it a tie.",
    ),
]


@dataclass(frozen=True)
class Beta:
    """Hold the one setting that objectives share with the run: the strength of the pull toward the reference."""

    beta: float


@dataclass(frozen=True)
class ChosenOptions:
    """Hold the settings that objectives share to which the sizes of a group's rewards count."""

    best_of: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="The number of clips of which the best is to be taken when the model is used: a clip counts by "
            "what its standing among clips of the untuned model is worth then. 0 leaves rewards as they are.",
        ),
    ] = 0
    worst_of: Annotated[
        int,
        Meta(ge=0, le=1000, description="As best_of, where the worst of so many clips counts, as in a test of safety."),
    ] = 0


@dataclass(frozen=True)
class PreferenceOptions:
    """Hold the settings of `dpo` and `kto`, which learn from pairs of clips."""

    rule: Annotated[
        Literal["reward", "front"],
        Meta(
            description="Which clip of a pair wins: reward, the one of the higher reward; front, the one that is "
            "nowhere worse and somewhere better in the parts of a mixture, and pairs without such a clip are left out."
        ),
    ] = "reward"


@dataclass(frozen=True)
class RAFTOptions:
    """Hold the settings of `raft`, which samples clips and imitates the best."""

    samples: Annotated[
        int,
        Meta(
            ge=1,
            le=10**4,
            description="The number of clips that are generated for each prompt; with a pilot, on average.",
        ),
    ] = 4
    pilot: Annotated[
        int,
        Meta(
            ge=0,
            le=10**4,
            description="How many of the samples of each prompt are made first. By the share of them that is among the "
            "step's best the others are given to prompts, and all clips that are as good are learnt. 0 learns the best "
            "clip of each prompt.",
        ),
    ] = 0
    gradient_norms: Annotated[
        bool,
        Meta(
            description="Measure the gradients of the pilot's accepted clips, and give more clips to prompts where "
            "they are larger."
        ),
    ] = False


@dataclass(frozen=True)
class DirectOptions:
    """Hold the settings of `direct`, which follows the gradient of a reward."""

    gradient_steps: Annotated[
        int, Meta(ge=1, le=10**4, description="The number of the last diffusion steps that the gradient flows through.")
    ] = 1
    eta: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="How random diffusion steps are at most: each gradient step draws it anew, from 0 on. 0 is the "
            "pipeline's own sampler.",
        ),
    ] = 0.0
    intermediate: Annotated[
        float,
        Meta(
            ge=0,
            le=1e3,
            description="The weight of the reward of what steps before the last one would end at, of those with "
            "gradient.",
        ),
    ] = 0.0
    balance: Annotated[
        bool,
        Meta(description="Whether gradients of a mixture's parts are brought to one length before they are weighed."),
    ] = False
    weight_penalty: Annotated[
        float,
        Meta(ge=0, le=1e9, description="The weight of the squared distance of the weights from the untuned model's."),
    ] = 0.0
    kl: Annotated[
        float,
        Meta(
            ge=0,
            le=1e9,
            description="The weight of the KL divergence of the steps with gradient from the untuned model's, in nats "
            "for a clip; of pipelines of tokens.",
        ),
    ] = 0.0


@dataclass(frozen=True)
class NFTOptions(ChosenOptions):
    """Hold the settings of `nft`, which compares each clip with its group."""

    group: GroupSize = 6
    levels: Annotated[
        int, Meta(ge=1, le=10**4, description="The number of noise levels at which a step learns from each clip.")
    ] = 2
    form: Annotated[
        Literal["nft", "awm"],
        Meta(description="nft: DiffusionNFT's two implicit policies; awm: the denoising error by its advantage."),
    ] = "nft"
    advantage: AdvantageRule = "rank"
    tie: TieWidth = 0.01
    mixing: Annotated[
        float,
        Meta(
            gt=0,
            le=1e3,
            description="How far from the previous policy the implicit policies are (beta of DiffusionNFT); less lets "
            "the policy move further.",
        ),
    ] = 1.0
    kl: Annotated[
        float, Meta(ge=0, le=1e6, description="The weight of the squared distance from the untuned model.")
    ] = 0.0


@dataclass(frozen=True)
class OrderOptions:
    """Hold the settings of `order`, which learns the order of a group."""

    group: GroupSize = 4
    rule: Annotated[
        Literal["top", "full", "front"],
        Meta(
            description="What is learnt of a group: top, its best clip; full, the whole order; front, the clips that "
            "no other beats in all parts of a mixture."
        ),
    ] = "full"


@dataclass(frozen=True)
class DNOOptions:
    """Hold the settings of `dno`, which learns from preferences in rounds."""

    group: GroupSize = 4
    margin: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="By how much the share of the group that the best clip beats exceeds the worst clip's, at "
            "least; pairs below are left out.",
        ),
    ] = 0.5
    rounds: Annotated[
        int, Meta(ge=1, le=10**4, description="The number of rounds; each begins from what the one before it learnt.")
    ] = 3


@dataclass(frozen=True)
class GRPOOptions:
    """Hold the settings of `grpo`, which makes the steps of good trajectories likelier."""

    group: GroupSize = 6
    window: Annotated[
        int,
        Meta(ge=1, le=10**4, description="The number of diffusion steps that are taken at random and learnt from."),
    ] = 2
    dwell: Annotated[
        int,
        Meta(
            ge=1, le=10**4, description="The number of steps of training after which the window moves on by one step."
        ),
    ] = 2
    eta: Annotated[
        float, Meta(gt=0, le=1, description="How random the steps of the window are; 1 is as random as the process.")
    ] = 0.7
    clip: Annotated[
        float,
        Meta(ge=0, lt=1, description="How far from 1 the ratio of likelihoods may be before a step stops pulling."),
    ] = 1e-4
    advantage: AdvantageRule = "rank"
    tie: TieWidth = 0.01
    kl: Annotated[
        float, Meta(ge=0, le=1e6, description="The weight of the divergence of a step from the untuned model's.")
    ] = 0.0


@dataclass(frozen=True)
class PRDPOptions(ChosenOptions):
    """Hold the settings of `prdp`, which fits differences of rewards by ratios of likelihoods."""

    group: GroupSize = 6
    path: Annotated[
        Literal["forward", "trajectory"],
        Meta(
            description="Where likelihoods are compared: forward, on clips that are noised anew; trajectory, on the "
            "steps that made them."
        ),
    ] = "forward"
    clip: Annotated[
        float,
        Meta(
            gt=0,
            le=1e3,
            description="How far the log-ratio of a step of a trajectory may move from its value when it was taken.",
        ),
    ] = 1e-4
