"""Which card bears the tuning of each published model, by `dragon estimate` on networks without weights.

python reports/guide/cards.py     # some minutes on one core; writes cards.csv and cards.md

Architectures are those of full_size.py, and:
- XL of ACE-Step is as in memory.py;
- Stable Audio 3's autoencoder has 1.7B parameters (docs/guides/model-overview.md of its repository) of settings that
  could not be read here: what the class has by default is counted, and the rest added in float32.

AudioLDM 2 and the small Stable Audio 3 are missing, as their settings could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import pandas as pd
import torch
from full_size import ace_step_2b, stable_audio_3_medium, stable_audio_open
from memory import XL
from torch import nn

from dragon_rewards.storage.results import write_table
from dragon_train.builtin import ADAPTERS
from dragon_train.config import TrainConfig
from dragon_train.descriptors import IN_FULL, PipelineInfo
from dragon_train.estimate.cards import cards
from dragon_train.estimate.estimate import estimate
from dragon_train.models import models
from dragon_train.objectives.configured import completed
from dragon_train.pipelines.loading import DECODERS, HOLLOW, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from dragon_train.descriptors import Loading
    from dragon_train.protocols import Policy

HERE = Path(__file__).parent
GIGA = 1e9
SETTINGS: dict[str, Any] = {
    "reward": "dataset-fad:clap@airs",
    "precision": "bf16",
    "prompts_per_step": 32,
    "microbatch": 1,
    "sampling_batch": 2,
    "gradient_checkpointing": True,
}


@dataclass(frozen=True)
class Case:
    """A published model.

    Attributes:
        name: of `models.toml`.
        build: makes its pipeline, with whatever weights.
        denoiser: its denoiser's class and settings, where `build` has another; None where it has this one.
        autoencoder: the parameters of its autoencoder where these are published and `build` has fewer.
    """

    name: str
    build: Callable[[], Any]
    denoiser: tuple[str, dict[str, Any]] | None = None
    autoencoder: float = 0
    settings: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("stable-audio-open", stable_audio_open, settings={"gradient_checkpointing": False}),
    Case("stable-audio-3-medium-base", stable_audio_3_medium, autoencoder=1.7e9),
    Case("ace-step-base", ace_step_2b),
    Case("ace-step-xl-base", ace_step_2b, ("AceStepTransformer1DModel", XL)),
)


def policy_of(case: Case, loading: Loading) -> Policy:
    """The policy over the pipeline of a case, whose networks have no values."""
    with HOLLOW:
        pipeline = case.build()
        if case.denoiser:
            kind, settings = case.denoiser
            pipeline.transformer = getattr(diffusers, kind)(**settings)
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)  # which has values
    pipeline.scheduler.register_to_config(stochastic_sampling=False)  # none of these is post-trained
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module) and name not in DECODERS:
            cast(part, loading.dtype or torch.float32)
    adapter = next(each for each in ADAPTERS if each.name == models()[case.name].adapter)
    return adapter.factory(pipeline)


def row(case: Case) -> dict[str, Any]:
    """One model: its denoiser's size, what its tuning takes, and the least card that has that much."""
    made: list[Any] = []

    def factory(loading: Loading = IN_FULL) -> Policy:
        policy = policy_of(case, loading)
        made.append(policy)
        return policy

    config = completed(TrainConfig(pipeline=case.name, **{**SETTINGS, **case.settings}))
    found = estimate(PipelineInfo(case.name, "", "", factory), config, None, cuda=True)
    counted = sum(p.numel() for p in made[-1].pipeline.vae.parameters())
    peak = (found.peak + 4 * max(0, case.autoencoder - counted)) / GIGA
    bearing = sorted((card.memory, name) for name, card in cards().items() if card.memory >= peak)
    return {
        "pipeline": case.name,
        "parameters_millions": sum(p.numel() for p in made[-1].denoiser.parameters()) / 1e6,
        "seconds": made[-1].seconds,
        "estimated_gb": peak,
        "phase": max(found.memory, key=lambda name: found.memory[name]),
        "cards": ", ".join(name for memory, name in bearing if memory == bearing[0][0]),
    }


def main() -> None:
    """Write both tables, after every row."""
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows.append(row(case))
        write_table(HERE / "cards", pd.DataFrame(rows))


if __name__ == "__main__":
    main()
