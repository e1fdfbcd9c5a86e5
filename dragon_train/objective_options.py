"""Define the settings that objectives have of their own: what each may be, its default and what it means.

A run's `options` gives them values. Nothing here imports torch, as `dragon list objectives` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

Advantage = Literal["std", "group", "rank", "jury"]
GroupSize = Annotated[int, Meta(ge=2, le=10**4, description="The number of clips that are generated for each prompt.")]


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
        int, Meta(ge=1, le=10**4, description="The number of clips that are generated for each prompt.")
    ] = 4


@dataclass(frozen=True)
class DirectOptions:
    """Hold the settings of `direct`, which follows the gradient of a reward."""

    gradient_steps: Annotated[
        int, Meta(ge=1, le=10**4, description="The number of the last diffusion steps that the gradient flows through.")
    ] = 1


@dataclass(frozen=True)
class NFTOptions:
    """Hold the settings of `nft`, which compares each clip with its group."""

    group: GroupSize = 6
    levels: Annotated[
        int, Meta(ge=1, le=10**4, description="The number of noise levels at which a step learns from each clip.")
    ] = 2
    form: Annotated[
        Literal["nft", "awm"],
        Meta(description="nft: DiffusionNFT's two implicit policies; awm: the denoising error by its advantage."),
    ] = "nft"
    advantage: Annotated[
        Advantage,
        Meta(
            description="How a clip's worth within its group is measured: std, in standard deviations of the step; "
            "group, of its group; rank, by the share of the group that it beats; jury, so for each part of a mixture."
        ),
    ] = "rank"
    tie: Annotated[
        float,
        Meta(
            ge=0,
            le=1e3,
            description="The difference of two clips, in standard deviations of the step, up to which rank and jury "
            "call it a tie.",
        ),
    ] = 0.01
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
