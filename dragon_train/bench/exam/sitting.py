"""Take an exam: generate with the untuned and the tuned model, let the judges compare, and see how they behave."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.errors import AudioError, DragonError, TooFewClipsError
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.evaluation.score_tables import BASELINE, comparisons, scores_frame
from dragon_rewards.media.clips import Clips
from dragon_rewards.provenance import provenance
from dragon_rewards.storage.dataframes import Column, read_csv
from dragon_train.bench.collateral import figures_of
from dragon_train.bench.exam.record import Judgement, Sitting
from dragon_train.loop.rollout import generate
from dragon_train.loop.run_folder import METRICS
from dragon_train.loop.start import load_reference
from dragon_train.loop.tuning import load_policy
from dragon_train.prompts import EMBEDDED
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward
    from dragon_train.config import TrainConfig
    from dragon_train.protocols import Policy

SUBSETS, ROUNDS = 8, 25  # rewards of sets judge random eighths of the prompts, in so many partitions
MORE_STEPS = 2  # times the diffusion steps that the run learnt with: another setting than it was tuned in
WATCHED = "heldout_win_rate"  # the column of metrics.csv
RESTORE = "restore it, or train again in another folder"
SENSITIVITY = "prompt_sensitivity"


@dataclass(frozen=True)
class Exam:
    """What is asked of a run.

    Attributes:
        folder: of the run.
        config: its configuration.
        judges: the rewards that compare the tuned model with the untuned one.
        prompts: one for each clip.
        seed: of the generations, which no run was compared by.
        watch: the mean win rate of the rewards that watched the run, at its last comparison; None without any.
    """

    folder: Path
    config: TrainConfig
    judges: Sequence[Reward]
    prompts: Sequence[str]
    seed: int
    watch: float | None

    @property
    def steps(self) -> int:
        """The diffusion steps of the generations, more than the run learnt with."""
        return MORE_STEPS * self.config.demonstration_steps

    @property
    def subset_size(self) -> int:
        """How many clips a reward of sets judges at once: an eighth of all, or the fewest that every judge takes."""
        return max(len(self.prompts) // SUBSETS, *(judge.reduction.minimum_clips for judge in self.judges))

    def take(self, device: torch.device, advance: Callable[[], None]) -> Sitting:
        """Generate and judge; `advance` is called after each of the two models.

        Raises:
            DragonError: the pipeline cannot be loaded, or a judge fails.
        """
        frames, behaviours = [], []
        for run in (BASELINE, self.config.reward):
            info = load_train_registry().pipeline(self.config.pipeline)
            load = load_reference if run == BASELINE else load_policy
            policy = load(info, self.folder, device, self.prompts)
            clips = self.clips(policy)
            frames.append(self.scores(run, clips))
            behaviours.append(behaviour(policy, self.config.pipeline, clips))
            advance()
        before, after = behaviours
        return Sitting(
            str(datetime.now(UTC).date()),
            len(self.prompts),
            self.steps,
            self.seed,
            self.judgements(pd.concat(frames)),
            {name: (before[name], after[name]) for name in before},
            self.watch,
            provenance(load_train_registry().plugins, device),
        )

    def clips(self, policy: Policy) -> Media:
        """Generate one clip for each prompt, by seeds that follow each other from the exam's own."""
        seeds = range(self.seed, self.seed + len(self.prompts))
        return generate(policy, self.prompts, seeds, self.steps, self.config.guidance).clips

    def scores(self, run: str, clips: Media) -> pd.DataFrame:
        """Return the long frame of what the judges say of a model's clips."""
        subsets = matched_subsets(len(clips), self.subset_size, ROUNDS, self.seed)
        seeds = range(self.seed, self.seed + len(clips))
        return scores_frame(run, self.config.pipeline, clips, self.judges, subsets=subsets, seeds=seeds)

    def judgements(self, frame: pd.DataFrame) -> tuple[Judgement, ...]:
        """Return what each judge says of the tuned model against the untuned one."""
        compared = comparisons(frame, self.judges, len(self.prompts) // self.subset_size)
        names = Judgement.__struct_fields__
        return tuple(Judgement(**{name: row[name] for name in names}) for row in compared.to_dict("records"))


@torch.no_grad()
def behaviour(policy: Policy, pipeline: str, clips: Media) -> dict[str, float]:
    """Return figures of a model that no reward gives; which there are depends on the pipeline.

    Beside the collateral of a benchmark there is the sensitivity to prompts of the embedded pipeline: the mean CLAP
    score of clips with their prompts, less the same with the prompts moved on by one.
    """
    figures: dict[str, float] = {}
    if isinstance(clips, Clips):
        with suppress(AudioError, TooFewClipsError):  # clips too short for a figure
            figures = figures_of(policy, pipeline, clips)
    if pipeline == EMBEDDED and isinstance(clips, Clips):
        score, texts = compose("clap-score:clap"), list(clips.prompts or ())
        moved = Clips(clips.media, clips.sample_rate, [*texts[1:], texts[0]])
        figures[SENSITIVITY] = float(score.metric(clips).mean() - score.metric(moved).mean())
    return figures


def last_watched(folder: Path) -> float | None:
    """Return the mean win rate of the rewards that watched a run at its last comparison; None if there was none.

    Raises:
        DragonError: the metrics of the run cannot be read, or its last win rate is none.
    """
    metrics = read_csv(folder / METRICS, {"step": Column.NUMBER}, RESTORE, rest=Column.FIGURE)
    found = metrics[WATCHED].dropna().tolist() if WATCHED in metrics else []
    if found and not 0 <= found[-1] <= 1:
        raise DragonError(f"'{folder / METRICS}': {WATCHED} = {found[-1]} is no share; {RESTORE}")
    return float(found[-1]) if found else None
