"""Make the tables of a finished benchmark from its long frames: win rates, cross-effects, and what was held out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import carry_over, carry_over_summary, is_held_out
from dragon_rewards.evaluation.score_tables import (
    BASELINE,
    MEASURED,
    comparisons,
    confounder_table,
    controlled_table,
    cross_table,
    win_table,
)
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.protocols import Direction
from dragon_rewards.storage.dataframes import read_parquet
from dragon_rewards.storage.files import write_text
from dragon_rewards.storage.results import known, write_parquet, write_table
from dragon_rewards.terminal.printable import counted
from dragon_train.bench import ceilings, collateral, facets
from dragon_train.bench.changes import with_changes
from dragon_train.bench.headline import described, headline, read_outcomes
from dragon_train.bench.judges import COLUMN, describe, judged, read_judgements
from dragon_train.bench.permutation import read_test
from dragon_train.bench.result_files import (
    CONFOUNDERS,
    CONTROLLED,
    CROSS_EFFECTS,
    HEADLINE,
    HELD_OUT,
    SCORES,
    WIN_RATES,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dragon_train.bench.benchmark import Benchmark

EVEN = 0.5  # a win rate that shows nothing
LEVEL = 0.05
COLUMNS = [
    "run", "served", "direction", "before", "after", "change", "change_low", "change_high", "permutation_p", "holm",
    "win_rate", "lower", "p_value", "effect", "trials",
]  # fmt: skip


def write_report(benchmark: Benchmark, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Write the tables (CSV, Markdown), scores.parquet and README.md of a benchmark; return the rows of its win table.

    Tables: win_rates, cross_effects, held_out, headline; confounders and collateral, if every run has them beside its
    scores; ceilings, if there are values of real music; and facets, if there are embeddings of enough clips.

    Args:
        benchmark: which is finished.
        frame: the long frame of all scores.

    Raises:
        DragonError: the confounders of a run do not belong to the scores beside them.
    """
    rewards = [compose(serving.served) for serving in benchmark.servings]
    compared = comparisons(frame, rewards, benchmark.evaluation.trials)
    tests = {run: test for run in benchmark.served if (test := read_test(benchmark.folder(run)))}
    wins = win_table(compared, benchmark.served, {run: test.p_value for run, test in tests.items()})
    wins = with_changes(wins, frame, {run: test.metric for run, test in tests.items()})
    cross = cross_table(compared)
    carried, controlled = carry_over(compared, benchmark.served), confounded(benchmark, frame, wins)
    judgements = read_judgements(benchmark.folder(run) for run in (BASELINE, *benchmark.served))
    if judgements is not None:
        rates = judged(judgements, benchmark.served, benchmark.evaluation.trials)
        carried.insert(len(carried.columns) - 1, COLUMN, rates.to_numpy())
    write_parquet(benchmark.out / SCORES, frame)
    write_table(benchmark.out / WIN_RATES, wins)
    write_table(benchmark.out / CROSS_EFFECTS, cross)
    write_table(benchmark.out / HELD_OUT, carried)
    if controlled is not None:
        write_table(benchmark.out / CONTROLLED, controlled)
    more = beside_rewards(benchmark, wins)
    summed = headline(read_outcomes([benchmark]))
    write_table(benchmark.out / HEADLINE, summed)
    text = page(benchmark, summed, wins, cross, carried, controlled, judgements, more)
    write_text(benchmark.out / "README.md", text)
    return [{str(column): value for column, value in row.items()} for row in known(wins[COLUMNS]).to_dict("records")]


def beside_rewards(benchmark: Benchmark, wins: pd.DataFrame) -> list[str]:
    """Write the tables of ceilings, collateral and facets, where there are such, and return a section about each."""
    clips = benchmark.preset.heldout_prompts
    folders = {run: benchmark.folder(run) for run in (BASELINE, *benchmark.served)}
    out, pipeline = benchmark.out, benchmark.workload.pipeline
    tables = {
        f"## Ceilings\n\n{ceilings.TEXT}": ceilings.write_ceilings(out, pipeline, clips, wins),
        f"## Collateral\n\n{collateral.TEXT}": collateral.write_collateral(out, folders),
    }
    shown = [f"{text}\n\n{markdown(table)}" for text, table in tables.items() if table is not None]
    kinds = facets.write_facets(benchmark, folders)
    return shown if kinds is None else [*shown, facets.section(kinds)]


def confounded(benchmark: Benchmark, frame: pd.DataFrame, wins: pd.DataFrame) -> pd.DataFrame | None:
    """Return each run's mean confounders and the win rate once they are controlled for; None where a run has none.

    Raises:
        DragonError: the confounders of a run do not belong to the scores beside them.
    """
    files = [benchmark.folder(run) / CONFOUNDERS for run in (BASELINE, *benchmark.served)]
    if not all(file.exists() for file in files):
        return None
    measured = pd.concat([read_parquet(file, MEASURED, "delete it and scores.parquet beside it") for file in files])
    rewards = [compose(name) for name in dict.fromkeys(benchmark.served.values())]
    try:
        controlled = controlled_table(frame, measured, rewards).rename(columns={"reward": "served"})
    except DragonError as error:
        names = ", ".join(f"'{file}'" for file in files)
        raise DragonError(f"{error}; one of {names} is not of the scores beside it: delete both") from error
    rates = wins[["run", "served", "win_rate"]].merge(controlled, how="left")
    return confounder_table(measured).merge(rates.drop(columns="served"), how="left")


def page(
    benchmark: Benchmark,
    summed: pd.DataFrame,
    wins: pd.DataFrame,
    cross: pd.DataFrame,
    carried: pd.DataFrame,
    controlled: pd.DataFrame | None,
    judgements: pd.DataFrame | None,
    more: Sequence[str],
) -> str:
    """Return the page of a benchmark in Markdown: its figures, how they came about, and its settings."""
    table = markdown(wins[COLUMNS], ".4g")
    return "\n\n".join(
        [
            f"# {benchmark.title}, seed {benchmark.seed}",
            described(summed),
            changed(wins),
            summary(wins),
            method(benchmark),
            stand_ins(benchmark),
            f"## Changes and win rates against the untuned model\n\n{table}",
            held_out(benchmark, carried, judgements),
            *([] if controlled is None else [confounders(controlled)]),
            *more,
            cross_effects(benchmark, cross),
            f"## Settings\n\n```json\n{json.dumps(settings(benchmark), indent=2)}\n```\n",
        ]
    )


def summary(wins: pd.DataFrame) -> str:
    """State the mean and the lowest win rate, and how many lower bounds are above one half."""
    above = int((wins["lower"] > EVEN).sum())
    return (
        f"Mean win rate over {counted(len(wins), 'target reward')}: **{wins['win_rate'].mean():.2%}** "
        f"(lowest {wins['win_rate'].min():.2%}); 95% lower bound above 50% for {above} of {len(wins)}."
    )


def changed(wins: pd.DataFrame) -> str:
    """State how many metrics moved the wanted way by interval, by permutation test, and after Holm's correction."""
    wanted = wins["change_low"].gt(0).where(wins["direction"] == Direction.HIGHER, wins["change_high"].lt(0))
    tested, shown = wins["permutation_p"].dropna(), int((wins["holm"] <= LEVEL).sum())
    return (
        f"Changes whose 95% interval lies on the better side of 0: {int(wanted.sum())} of {len(wins)}. Rewards of "
        f"whole sets that are better at the 5% level by the permutation test: {int((tested <= LEVEL).sum())} of "
        f"{len(tested)}. Better at the 5% level after Holm's correction for {counted(len(wins), 'reward')}: {shown}."
    )


def learnt_beside(benchmark: Benchmark) -> str:
    """Name the rewards that runs learn from beside their targets, as held-out rewards are held out from targets alone.

    Returns:
        A sentence or two for the report; nothing where there are none.
    """
    configs = {run: benchmark.config(run) for run in benchmark.served}
    names = {
        name: None
        for run, config in configs.items()
        if config is not None
        for name in (*(part.name for part in compose_mixture(config.reward).parts), *config.at_least)
        if name != benchmark.served[run]
    }
    if not names:
        return ""
    return (
        f" Beside their targets, runs learn from {', '.join(f'`{name}`' for name in names)} (see Settings): held out "
        "means from the target alone, and a judge of these encoders or of this music was seen by them."
    )


def held_out(benchmark: Benchmark, carried: pd.DataFrame, judgements: pd.DataFrame | None) -> str:
    """Describe in Markdown which gains carry over to rewards that training never saw, and what judges say, if any."""
    text = (
        "A reward is held out from a run if it has another encoder and, where it has an exemplar set, one of other "
        "music (captions of a set count as the set). `heldout` is the mean win rate under all held-out rewards, "
        "`same_question` the mean under the held-out rewards of the run's own reduction; a gain carries over where the "
        "latter is above 50%."
    )
    text += learnt_beside(benchmark)
    said = [] if judgements is None else [describe(judgements, carried[COLUMN])]
    return "\n\n".join(["## Held out", carry_over_summary(carried), text, *said, markdown(carried)])


def confounders(controlled: pd.DataFrame) -> str:
    """Describe in Markdown how length, loudness and silence changed, and the win rates without their part."""
    text = (
        "Means over the held-out clips: duration in seconds, integrated loudness in LUFS, share of silence. "
        "`controlled` is the win rate, with its 95% interval, once the part of the gain is removed that goes with them."
    )
    return f"## Length, loudness, silence\n\n{text}\n\n{markdown(controlled)}"


def markdown(table: pd.DataFrame, floatfmt: str = ".3g") -> str:
    """Return a table in Markdown, with cells that stay empty where a figure is missing."""
    return known(table).to_markdown(index=False, floatfmt=floatfmt, missingval="")


def cross_effects(benchmark: Benchmark, cross: pd.DataFrame) -> str:
    """Describe in Markdown the win rate of every run under every reward."""
    text = "Win rate of each run (rows) under every reward (columns). A star: the reward is held out from that run."
    return f"## Cross-effects\n\n{text}\n\n{marked(cross, benchmark.served).to_markdown()}"


def marked(cross: pd.DataFrame, served: Mapping[str, str]) -> pd.DataFrame:
    """Return win rates as text, each with a star where the reward was held out from the run.

    Args:
        cross: win rates of the runs (rows) under the rewards (columns).
        served: the reward that each run was tuned toward, by the name of the run.
    """
    text = cross.map("{:.2f}".format)
    stars = [["*" * is_held_out(served[run], judge) for judge in cross.columns] for run in cross.index]
    return text + pd.DataFrame(stars, cross.index, cross.columns)


def method(benchmark: Benchmark) -> str:
    """Describe how the numbers came about: prompts, changes, tests, subsets and bounds."""
    preset, trials = benchmark.preset, benchmark.evaluation.trials
    return (
        f"{counted(preset.heldout_prompts, 'held-out prompt')}, one clip each, the same seeds before and after "
        "tuning. `change` is the metric after less before, with its 95% interval: of rewards of clips by a bootstrap "
        "over prompts, of rewards of whole sets by random halves of the prompts (delete-half jackknife). Rewards of "
        "whole sets are judged by the whole set: `permutation_p` is the p-value of its change, from 999 random "
        "exchanges of clips "
        "between the two models (0.001 is the least). `holm` is `permutation_p` where there is one, else `p_value`, "
        "adjusted for all target rewards. Win rates come after that. Rewards of clips win prompt by prompt (ties "
        f"half). Rewards of whole sets win subset by subset: {preset.rounds} random partitions into {trials} matched "
        f"subsets of {preset.subset_size}; their bound counts the {trials} disjoint subsets of one partition, which "
        "see less than the permutation test. `lower` is the one-sided 95% Clopper-Pearson bound, `p_value` the "
        "exact one-sided binomial probability, `effect` the matched-pairs rank-biserial correlation, 1 where every "
        "pair is better after."
    )


def stand_ins(benchmark: Benchmark) -> str:
    """List in Markdown the rewards that another one stood in for, and why."""
    notes = [f"- {serving.note}" for serving in benchmark.servings if serving.note]
    return "## Stand-ins\n\n" + ("\n".join(notes) or "None: every reward served itself.")


def settings(benchmark: Benchmark) -> dict[str, Any]:
    """Return the settings of the preset that a rerun needs."""
    preset = benchmark.preset
    return {
        "heldout_prompts": preset.heldout_prompts,
        "inference_steps": preset.inference_steps,
        "guidance": preset.guidance,
        "train": dict(preset.train),
        "beside": preset.beside,
        "weight": preset.weight,
        "rewards": {pattern: dict(own) for pattern, own in preset.rewards.items()},
    }
