"""Tables of a finished benchmark: win rates, cross-effects, a summary page; all derived from the long frame."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dragon_rewards import compose
from dragon_rewards.files import write_text
from dragon_rewards.report import write_parquet, write_table
from dragon_rewards.tables import comparisons, cross_table, win_table

if TYPE_CHECKING:
    import pandas as pd

    from dragon_train.benchmark import Benchmark

EVEN = 0.5  # a win rate that shows nothing
COLUMNS = ["run", "served", "direction", "before", "after", "win_rate", "lower", "p_value", "trials"]


def write_report(benchmark: Benchmark, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Write scores.parquet, win_rates and cross_effects (CSV, Markdown) and README.md; returns the win table's rows."""
    rewards = [compose(serving.served) for serving in benchmark.servings]
    compared = comparisons(frame, rewards, benchmark.trials)
    wins, cross = win_table(compared, benchmark.served), cross_table(compared)
    write_parquet(benchmark.out / "scores.parquet", frame)
    write_table(benchmark.out / "win_rates", wins)
    write_table(benchmark.out / "cross_effects", cross)
    write_text(benchmark.out / "README.md", page(benchmark, wins, cross))
    return [{column: row[column] for column in COLUMNS} for row in wins.to_dict("records")]


def page(benchmark: Benchmark, wins: pd.DataFrame, cross: pd.DataFrame) -> str:
    """The summary in Markdown."""
    table = wins[COLUMNS].to_markdown(index=False, floatfmt=".4g")
    return "\n\n".join(
        [
            f"# Benchmark, preset {benchmark.preset.name}, seed {benchmark.seed}",
            summary(wins),
            method(benchmark),
            stand_ins(benchmark),
            f"## Win rates against the untuned model\n\n{table}",
            "## Cross-effects\n\nWin rate of each run (rows) under every reward (columns).\n\n"
            + cross.to_markdown(floatfmt=".2f"),
            f"## Settings\n\n```json\n{json.dumps(settings(benchmark), indent=2)}\n```\n",
        ]
    )


def summary(wins: pd.DataFrame) -> str:
    """The three figures a reader looks for."""
    above = int((wins["lower"] > EVEN).sum())
    return (
        f"Mean win rate over {len(wins)} target rewards: **{wins['win_rate'].mean():.2%}** "
        f"(lowest {wins['win_rate'].min():.2%}); 95% lower bound above 50% for {above} of {len(wins)}."
    )


def method(benchmark: Benchmark) -> str:
    """How the numbers came about."""
    preset = benchmark.preset
    return (
        f"{preset.heldout_prompts} held-out prompts, one clip each, the same seeds before and after tuning. Rewards "
        "that judge clips win prompt by prompt (ties half). Rewards that judge whole sets win subset by subset: "
        f"{preset.rounds} random partitions into {benchmark.trials} matched subsets of {preset.subset_size}; their "
        f"interval counts the {benchmark.trials} disjoint subsets of one partition as trials. `lower` is the one-sided "
        "95% Clopper-Pearson bound, `p_value` the exact one-sided binomial probability."
    )


def stand_ins(benchmark: Benchmark) -> str:
    """Which rewards were served by another one, and why."""
    notes = [f"- {serving.note}" for serving in benchmark.servings if serving.note]
    return "## Stand-ins\n\n" + ("\n".join(notes) or "None: every reward served itself.")


def settings(benchmark: Benchmark) -> dict[str, Any]:
    """What a rerun needs."""
    preset = benchmark.preset
    return {
        "heldout_prompts": preset.heldout_prompts,
        "inference_steps": preset.inference_steps,
        "train": dict(preset.train),
        "rewards": {pattern: dict(own) for pattern, own in preset.rewards.items()},
    }
