"""What benchmarks and ablations are made of: models, tuned or not, judged on held-out prompts. Each result is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards import compose, tables
from dragon_rewards.clips import Clips
from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.report import write_parquet
from dragon_train.demonstrations import generate
from dragon_train.embedded.prompts import prompts
from dragon_train.objectives.configured import make_objective
from dragon_train.registry import load_train_registry
from dragon_train.run import METRICS
from dragon_train.seeds import Stream, seeds
from dragon_train.trainer import train

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from dragon_rewards.media import Media
    from dragon_train.config import TrainConfig
    from dragon_train.pipelines.base import Policy
    from dragon_train.presets import Preset

PIPELINE = "embedded"
SCORES, CONFOUNDERS = "scores.parquet", "confounders.parquet"


@dataclass(frozen=True)
class Evaluation:
    """How models are compared: one clip for each held-out prompt, the same prompts, seeds and subsets for all.

    Attributes:
        heldout_prompts: how many.
        inference_steps: diffusion steps of the generations, which are without guidance.
        subset_size: clips in each matched subset that a distribution reward judges.
        rounds: random partitions of the prompts into such subsets.
        seed: of the generations and the partitions.
    """

    heldout_prompts: int
    inference_steps: int
    subset_size: int
    rounds: int
    seed: int

    @classmethod
    def of(cls, preset: Preset, seed: int) -> Evaluation:
        """As a preset says."""
        return cls(preset.heldout_prompts, preset.inference_steps, preset.subset_size, preset.rounds, seed)

    @property
    def trials(self) -> int:
        """Disjoint subsets of the held-out prompts: the independent trials of rewards that judge sets."""
        return self.heldout_prompts // self.subset_size

    def heldout(self) -> tuple[Sequence[str], Sequence[int]]:
        """Held-out prompts and the seed of each.

        Raises:
            ConfigError: there are not so many.
        """
        known = prompts("heldout")
        if self.heldout_prompts > len(known):
            raise ConfigError(f"heldout_prompts = {self.heldout_prompts}: there are {len(known)}")
        count = self.heldout_prompts
        return known[:count], seeds(Stream.HELDOUT, self.seed, count=count)

    def clips(self, policy: Policy) -> Media:
        """What a model makes of the held-out prompts."""
        return generate(policy, *self.heldout(), self.inference_steps, guidance=1.0).clips


@dataclass(frozen=True)
class Scoring:
    """One evaluation of a model.

    Attributes:
        evaluation: how.
        rewards: names of what judges.
        place: folder of the result, beneath the model's.
    """

    evaluation: Evaluation
    rewards: tuple[str, ...]
    place: str = "."

    def missing(self, model: Path) -> tuple[str, ...]:
        """The rewards that have not judged yet."""
        known = read_scores(model / self.place)
        return tuple(name for name in self.rewards if name not in set(known["reward"]))


def run_model(folder: Path, run: str, config: TrainConfig | None, scorings: Sequence[Scoring]) -> None:
    """Tune as configured, or not; then generate for held-out prompts and score, evaluation by evaluation.

    What is in the folder is not done again: finished steps, and rewards that have judged.
    """
    policy = load_train_registry().pipeline(PIPELINE).factory()
    if config is not None:
        reward, objective = compose_mixture(config.reward), make_objective(config)
        train(config, policy, reward, objective, prompts("train"), folder, on_step=lambda _: None)
    for scoring in scorings:
        score(policy, run, scoring, folder)


def score(policy: Policy, run: str, scoring: Scoring, model: Path) -> None:
    """Add the scores of the rewards that have not judged yet; the confounders of clips of audio stand beside them."""
    folder, evaluation, names = model / scoring.place, scoring.evaluation, scoring.missing(model)
    if not names:
        return
    clips, (_, own) = evaluation.clips(policy), evaluation.heldout()
    subsets = matched_subsets(len(clips), evaluation.subset_size, evaluation.rounds, evaluation.seed)
    fresh = tables.scores_frame(run, PIPELINE, clips, [compose(name) for name in names], subsets=subsets, seeds=own)
    known = read_scores(folder)
    if isinstance(clips, Clips):
        write_parquet(folder / CONFOUNDERS, tables.confounders_frame(run, clips, own))
    write_parquet(folder / SCORES, fresh if known.empty else pd.concat([known, fresh], ignore_index=True))


def read_scores(folder: Path, rewards: Collection[str] | None = None) -> pd.DataFrame:
    """The long frame of one evaluation, of these rewards or all; empty if there is none."""
    path = folder / SCORES
    frame = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=tables.COLUMNS)
    return frame if rewards is None else frame[frame["reward"].isin(rewards)]


def steps_done(folder: Path) -> int:
    """Training steps that a run has recorded."""
    path = folder / METRICS
    return len(path.read_text(encoding="utf-8").splitlines()) - 1 if path.exists() else 0


def generations(config: TrainConfig | None) -> int:
    """Pairs of clips that a run generates: what its time goes with."""
    return 0 if config is None else config.steps * config.prompts_per_step
