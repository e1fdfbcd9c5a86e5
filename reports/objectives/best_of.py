"""The control without training: of four more clips of the untuned model, the one that the reward likes best.

    dragon ablate reports/objectives/record.toml --workers 2 --out WORK
    python reports/objectives/best_of.py WORK       # writes WORK/best-of/scores.parquet, for standings.py

It is compared as the runs of record.toml are, on the same prompts, seeds and sets. Of five clips the best is
among these four in 4 / 5 of the cases, whatever the reward.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.evaluation import matched_subsets
from dragon_rewards.evaluation import score_tables as tables
from dragon_rewards.storage.results import write_parquet
from dragon_train.bench.ablation.frames import Outcome, paired
from dragon_train.bench.ablation.grid import load_grid
from dragon_train.bench.ablation.tuning_grid import make_tuning_grid
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.rollout import Stream, embedded, seeds
from dragon_train.loop.selection import better_of
from dragon_train.protocols import Generations

if TYPE_CHECKING:
    from dragon_train.bench.ablation.tuning_grid import Cell, TuningGrid
    from dragon_train.protocols import Policy

OTHERS, ARM = 4, "best of 4, untuned"


def chosen(policy: Policy, grid: TuningGrid, cell: Cell) -> Generations:
    """The best of the further clips of each prompt."""
    reward, evaluation = compose(cell.config.reward), cell.evaluation
    texts = grid.workload.compared_on(evaluation.heldout_prompts)

    def made(side: int) -> Generations:
        own = seeds(Stream.HELDOUT, evaluation.seed, side=side, count=len(texts))
        latents = policy.sample(texts, own, evaluation.inference_steps, evaluation.guidance)
        return Generations(latents, embedded(policy, latents, texts, [reward]), own)

    best = made(1)
    for side in range(2, OTHERS + 1):
        best = better_of(reward, best, made(side))
    return best


def outcome(policy: Policy, grid: TuningGrid, cell: Cell) -> Outcome:
    """The scores of the best clips, beside the untuned model's that runs are compared with."""
    evaluation, best = cell.evaluation, chosen(policy, grid, cell)
    subsets = matched_subsets(len(best.clips), evaluation.subset_size, evaluation.rounds, evaluation.seed)
    clips = policy.clips(best.latents, best.prompts)
    rewards = [compose(name) for name in cell.rewards]
    scores = tables.scores_frame(ARM, "embedded", clips, rewards, subsets=subsets, seeds=evaluation.seeds)
    axes = {**cell.axes, "arm": ARM}
    return Outcome(
        axes, cell.rewards, evaluation, scores, {evaluation.seed: grid.scores(None, evaluation, cell.rewards)}
    )


def main(work: Path) -> None:
    """Choose and compare, seed by seed."""
    grid = make_tuning_grid(load_grid(str(Path(__file__).with_name("record.toml"))), work)
    policy, cells = load_policy(), [cell for cell in grid.cells if cell.axes["arm"] == "dpo"]
    outcomes = [outcome(policy, grid, cell) for cell in cells]
    frames = [paired(each).assign(**each.key) for each in outcomes]
    (work / "best-of").mkdir(exist_ok=True)
    write_parquet(work / "best-of" / "scores.parquet", pd.concat(frames, ignore_index=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
