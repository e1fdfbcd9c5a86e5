"""Tune a model, or take the untuned one, and score it on held-out prompts, as benchmarks and ablations do.

Each result is kept on disk, and is not computed again.
"""

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
from dragon_train.bench.collateral import measure
from dragon_train.bench.judges import judge
from dragon_train.bench.permutation import keep_embeddings
from dragon_train.bench.result_files import CONFOUNDERS, SCORES
from dragon_train.loop.loop import train
from dragon_train.loop.rollout import Stream, generate, seeds, suggested
from dragon_train.loop.run_folder import FINAL_CHECKPOINT
from dragon_train.loop.tuning import load_policy
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward
    from dragon_train.bench.presets import Preset
    from dragon_train.bench.workload import Workload
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Policy

ORIGIN = "origin"  # column of kept scores: `Reward.origin` of what judged


@dataclass(frozen=True)
class Evaluation:
    """A comparison of models on held-out prompts: one clip for each prompt, the same seeds and subsets for all models.

    Attributes:
        heldout_prompts: how many prompts.
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
        """Make the evaluation that a preset describes, with this seed."""
        size, rounds = preset.subset_size, preset.rounds
        return cls(preset.heldout_prompts, preset.inference_steps, size, rounds, seed, preset.guidance)

    @property
    def trials(self) -> int:
        """The number of disjoint subsets of the held-out prompts: the independent trials of rewards that judge sets."""
        return self.heldout_prompts // self.subset_size

    @property
    def seeds(self) -> Sequence[int]:
        """The seed of the clip of each held-out prompt, in the order of the prompts."""
        return seeds(Stream.HELDOUT, self.seed, count=self.heldout_prompts)

    def clips(self, policy: Policy, workload: Workload) -> Media:
        """Generate a model's clips for the held-out prompts.

        Raises:
            ConfigError: the workload has fewer held-out prompts.
        """
        texts = workload.compared_on(self.heldout_prompts)
        return generate(policy, texts, self.seeds, *suggested(policy, self.inference_steps, self.guidance)).clips


@dataclass(frozen=True)
class Scoring:
    """An evaluation of one model, by some rewards, with the place of its result.

    Attributes:
        evaluation: how the model's clips are generated and grouped.
        rewards: names of the rewards that judge them.
        place: folder of the result, relative to the model's.
        embedded: names of the rewards whose embeddings are kept, for `permutation.run_test` and `facets`.
        judged: whether the judges that nothing is tuned toward score the model, too (`judges.judge`), and its
            collateral is measured (`collateral.measure`).
    """

    evaluation: Evaluation
    rewards: tuple[str, ...]
    place: str = "."
    embedded: tuple[str, ...] = ()
    judged: bool = False

    def missing(self, model: Path) -> tuple[str, ...]:
        """Return the names of the rewards that have not judged the model in this folder yet."""
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
    """Tune a model, or take the untuned one; then generate for held-out prompts and score, evaluation by evaluation.

    What is in the folder is not done again: finished steps, and rewards that have judged.

    Args:
        folder: of the model and its scores.
        run: its name in the scores.
        workload: the pipeline and its prompts.
        config: settings of the tuning; None for the untuned model.
        scorings: what is to be scored.
        device: where all of it is computed, as `find_device` takes it.

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
        (folder / FINAL_CHECKPOINT).unlink(missing_ok=True)  # three times a result in size, and all steps are done
    for scoring in scorings:
        score(policy, run, workload, scoring, folder)


def ignored(_: object) -> None:
    """Take a step's figures and do nothing with them, as they are on disk by then."""


def score(policy: Policy, run: str, workload: Workload, scoring: Scoring, model: Path) -> None:
    """Add the scores of the rewards that have not judged a model yet to the scores in its folder.

    The confounders of clips of audio, what judges say of them, the model's collateral, and the embeddings for
    permutation tests and facets are written beside the scores.
    """
    folder, evaluation, names = model / scoring.place, scoring.evaluation, scoring.missing(model)
    if not names:
        return
    clips, own = evaluation.clips(policy, workload), evaluation.seeds
    subsets = matched_subsets(len(clips), evaluation.subset_size, evaluation.rounds, evaluation.seed)

    def scores(rewards: Sequence[Reward]) -> pd.DataFrame:
        return tables.scores_frame(run, workload.pipeline, clips, rewards, subsets=subsets, seeds=own)

    fresh, known = scores([compose(name) for name in names]), read_scores(folder)
    if isinstance(clips, Clips):
        write_parquet(folder / CONFOUNDERS, tables.confounders_frame(run, clips, own))
        if scoring.judged:
            judge(folder, scores)
            measure(folder, policy, workload.pipeline, clips)
    keep_embeddings(folder, clips, [compose(name) for name in scoring.embedded])
    write_scores(folder, fresh if known.empty else pd.concat([known, fresh], ignore_index=True))


def write_scores(folder: Path, scores: pd.DataFrame) -> None:
    """Write the long frame of one evaluation, with `Reward.origin` of the reward that gave each score."""
    write_parquet(folder / SCORES, scores.assign(**{ORIGIN: scores["reward"].map(origins(scores))}))


def read_scores(folder: Path, rewards: Collection[str] | None = None) -> pd.DataFrame:
    """Read the long frame of one evaluation, by these rewards or by all; it is empty if there is none.

    Scores of rewards whose parts are gone, or have changed since, are left out.

    Raises:
        DragonError: the file cannot be read.
    """
    path = folder / SCORES
    if not path.exists():
        return pd.DataFrame(columns=tables.COLUMNS)
    kept = read_parquet(path, {**tables.JUDGED, ORIGIN: Column.ANYTHING}, "delete it, and the command scores again")
    frame = kept.loc[kept[ORIGIN] == kept["reward"].map(origins(kept)), tables.COLUMNS]
    return frame if rewards is None else frame[frame["reward"].isin(rewards)]


def origins(scores: pd.DataFrame) -> dict[str, str]:
    """Return `Reward.origin` of each reward in a frame, by name; rewards that do not compose here are left out."""
    found = {}
    for name in scores["reward"].unique():
        with suppress(DragonError):
            found[name] = compose(name).origin
    return found


def generations(config: TrainConfig | None) -> int:
    """Return how many pairs of clips a run generates, to which its time is proportional; 0 for the untuned model."""
    return 0 if config is None else config.steps * config.prompts_per_step
