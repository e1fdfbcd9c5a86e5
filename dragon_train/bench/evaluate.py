"""What benchmarks and ablations are made of: models, tuned or not, judged on held-out prompts. Each result is kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.compute.devices import check_precision, find_device
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.evaluation import score_tables as tables
from dragon_rewards.media.clips import Clips
from dragon_rewards.storage.dataframes import Column, read_parquet
from dragon_rewards.storage.results import write_parquet
from dragon_train.assembly import assemble
from dragon_train.bench.permutation import keep_embeddings
from dragon_train.bench.result_files import CONFOUNDERS, SCORES
from dragon_train.loop.generations import generate, suggested
from dragon_train.loop.loop import train
from dragon_train.loop.run import load_policy
from dragon_train.loop.run_folder import METRICS
from dragon_train.loop.seeds import Stream, seeds
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from dragon_rewards.media.media import Media
    from dragon_train.bench.presets import Preset
    from dragon_train.bench.workload import Workload
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Policy

ORIGIN = "origin"  # column of kept scores: `Reward.origin` of what judged


@dataclass(frozen=True)
class Evaluation:
    """How models are compared: one clip for each held-out prompt, the same prompts, seeds and subsets for all.

    Attributes:
        heldout_prompts: how many.
        inference_steps: diffusion steps of the generations; 0 is what the pipeline suggests.
        subset_size: clips in each matched subset that a distribution reward judges.
        rounds: random partitions of the prompts into such subsets.
        seed: of the generations and the partitions.
        guidance: classifier-free guidance of the generations; 1 is none, 0 what the pipeline suggests.
    """

    heldout_prompts: int
    inference_steps: int
    subset_size: int
    rounds: int
    seed: int
    guidance: float = 1.0

    @classmethod
    def of(cls, preset: Preset, seed: int) -> Evaluation:
        """As a preset says."""
        size, rounds = preset.subset_size, preset.rounds
        return cls(preset.heldout_prompts, preset.inference_steps, size, rounds, seed, preset.guidance)

    @property
    def trials(self) -> int:
        """Disjoint subsets of the held-out prompts: the independent trials of rewards that judge sets."""
        return self.heldout_prompts // self.subset_size

    @property
    def seeds(self) -> Sequence[int]:
        """Of the clip of each prompt."""
        return seeds(Stream.HELDOUT, self.seed, count=self.heldout_prompts)

    def clips(self, policy: Policy, workload: Workload) -> Media:
        """What a model makes of the held-out prompts."""
        texts = workload.compared_on(self.heldout_prompts)
        return generate(policy, texts, self.seeds, *suggested(policy, self.inference_steps, self.guidance)).clips


@dataclass(frozen=True)
class Scoring:
    """One evaluation of a model.

    Attributes:
        evaluation: how.
        rewards: names of what judges.
        place: folder of the result, beneath the model's.
        exchanged: those of the rewards whose embeddings are kept for `exchanges.run_test`.
    """

    evaluation: Evaluation
    rewards: tuple[str, ...]
    place: str = "."
    exchanged: tuple[str, ...] = ()

    def missing(self, model: Path) -> tuple[str, ...]:
        """The rewards that have not judged yet."""
        known = set(read_scores(model / self.place)["reward"])
        return tuple(name for name in self.rewards if name not in known)


def run_model(
    folder: Path,
    run: str,
    workload: Workload,
    config: TrainConfig | None,
    scorings: Sequence[Scoring],
    device: str | None,
) -> None:
    """Tune as configured, or not; then generate for held-out prompts and score, evaluation by evaluation.

    All on the device of this name, or by default (`devices.find_device`). What is in the folder is not done again:
    finished steps, and rewards that have judged.

    Raises:
        DeviceError: there is no such device, or it cannot compute in the precision of the run.
    """
    where = find_device(device)
    if config is None:
        policy = load_policy(load_train_registry().pipeline(workload.pipeline), None, where)
    else:
        check_precision(config.precision, where)
        parts = assemble(replace(config, pipeline=workload.pipeline), where)
        policy, prompts, unseen = parts.policy, workload.train, workload.heldout
        train(config, policy, parts.reward, parts.objective, prompts, folder, ignored, device=where, unseen=unseen)
    for scoring in scorings:
        score(policy, run, workload, scoring, folder)


def ignored(_: object) -> None:
    """Take a step's figures, which are on disk by then."""


def score(policy: Policy, run: str, workload: Workload, scoring: Scoring, model: Path) -> None:
    """Add the scores of the rewards that have not judged yet; the confounders of clips of audio stand beside them."""
    folder, evaluation, names = model / scoring.place, scoring.evaluation, scoring.missing(model)
    if not names:
        return
    clips, own = evaluation.clips(policy, workload), evaluation.seeds
    subsets = matched_subsets(len(clips), evaluation.subset_size, evaluation.rounds, evaluation.seed)
    rewards = [compose(name) for name in names]
    fresh = tables.scores_frame(run, workload.pipeline, clips, rewards, subsets=subsets, seeds=own)
    known = read_scores(folder)
    if isinstance(clips, Clips):
        write_parquet(folder / CONFOUNDERS, tables.confounders_frame(run, clips, own))
    keep_embeddings(folder, clips, [compose(name) for name in scoring.exchanged])
    write_scores(folder, fresh if known.empty else pd.concat([known, fresh], ignore_index=True))


def write_scores(folder: Path, scores: pd.DataFrame) -> None:
    """Keep the long frame of one evaluation, with what judged."""
    write_parquet(folder / SCORES, scores.assign(**{ORIGIN: scores["reward"].map(origins(scores))}))


def read_scores(folder: Path, rewards: Collection[str] | None = None) -> pd.DataFrame:
    """The long frame of one evaluation, of these rewards or all; empty if there is none.

    Scores of rewards whose parts are gone, or have changed since, do not count.
    """
    path = folder / SCORES
    if not path.exists():
        return pd.DataFrame(columns=tables.COLUMNS)
    kept = read_parquet(path, {**tables.JUDGED, ORIGIN: Column.ANYTHING}, "delete it, and the command scores again")
    frame = kept.loc[kept[ORIGIN] == kept["reward"].map(origins(kept)), tables.COLUMNS]
    return frame if rewards is None else frame[frame["reward"].isin(rewards)]


def origins(scores: pd.DataFrame) -> dict[str, str]:
    """`Reward.origin` of the rewards of a frame; those that do not compose here have none."""
    found = {}
    for name in scores["reward"].unique():
        with suppress(DragonError):
            found[name] = compose(name).origin
    return found


def steps_done(folder: Path) -> int:
    """Training steps that a run has recorded: for progress, so that the lines of metrics.csv are enough."""
    path = folder / METRICS
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def generations(config: TrainConfig | None) -> int:
    """Pairs of clips that a run generates: what its time goes with."""
    return 0 if config is None else config.steps * config.prompts_per_step
