"""How far each objective is before Diffusion-DPO at an equal number of denoiser calls, and what else changed.

    dragon ablate reports/objectives/record.toml --workers 2 --out WORK     # and variants.toml
    python reports/objectives/best_of.py WORK
    python reports/objectives/standings.py WORK record best-of      # into the folder `record` beside this file
    python reports/objectives/standings.py WORK longer --calls 80000

It puts the runs of all these results into one table, and draws the reward of each run's own clips over its calls.
A win is a clip that the reward rates above the untuned model's clip of the same prompt and seed. Intervals resample
prompts, each with the clips of all seeds; p values flip the sign of a prompt's difference from Diffusion-DPO, and are
Holm's over all arms. `sd` is the standard deviation of the win rate over seeds.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from dragon_rewards import compose
from dragon_rewards.evaluation.bootstrap import cluster_interval
from dragon_rewards.evaluation.correction import holm
from dragon_rewards.storage.results import write_table
from dragon_train.bench.ablation.figures import COLOURS, MARKERS, canvas_of, save, styled

HERE = Path(__file__).parent
BASE = "dpo"
PANEL = 6  # curves, as many as the eye tells apart
SMOOTH = 5  # parts of a run, whose clips are averaged


def scores_of(work: Path, names: list[str]) -> pd.DataFrame:
    """The metrics before and after of every clip and set; an arm that several results have is the first one's."""
    tables: list[pd.DataFrame] = []
    for name in names:
        table = pd.read_parquet(work / name / "scores.parquet")
        known = {arm for each in tables for arm in each["arm"]}
        tables.append(table[~table["arm"].isin(known)])
    return pd.concat(tables, ignore_index=True)


def with_wins(scores: pd.DataFrame) -> pd.DataFrame:
    """The same with the column `won`: 1 where tuning was for the better, 0 where for the worse, 0.5 where neither."""
    signs = {name: compose(name).direction.sign for name in scores["scored"].unique()}
    change = (scores["after"] - scores["before"]) * scores["scored"].map(signs)
    return scores.assign(won=np.sign(change) / 2 + 0.5)


def chance(differences: pd.Series) -> float:
    """The two-sided p value of a mean difference, by flipping signs of whole prompts."""
    each = differences.groupby("prompt_id").mean().to_numpy()
    test = permutation_test(
        (each, np.zeros_like(each)),
        lambda one, other, axis: (one - other).mean(axis),
        vectorized=True,
        permutation_type="samples",
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def standings(scores: pd.DataFrame) -> pd.DataFrame:
    """A row for each arm, the best first."""
    own = scores[scores["scored"] == scores["reward"]]
    wins = own.pivot_table(index=["prompt_id", "seed"], columns="arm", values="won")
    prompts, rows = wins.index.get_level_values("prompt_id"), []
    for arm in wins:
        rate, ahead = cluster_interval(wins[arm], prompts), wins[arm] - wins[BASE]
        lead = cluster_interval(ahead, prompts)
        row = {"arm": arm, "win_rate": rate.mean, "low": rate.low, "high": rate.high}
        row["sd"] = wins[arm].groupby("seed").mean().std()
        row |= {f"before {BASE}": lead.mean, "lead low": lead.low, "lead high": lead.high}
        rows.append(row | {"p": np.nan if arm == BASE else chance(ahead)})
    table = pd.DataFrame(rows).sort_values("win_rate", ascending=False)
    tested = table["p"].notna()
    table.loc[tested, "p"] = holm(table.loc[tested, "p"])
    return table


def others(scores: pd.DataFrame) -> pd.DataFrame:
    """The win rate of each arm under each reward that was not maximised, over clips or sets and all seeds."""
    rest = scores[scores["scored"] != scores["reward"]]
    return rest.pivot_table(index="arm", columns="scored", values="won", sort=False)


def courses(work: Path, names: list[str], calls: int) -> pd.DataFrame:
    """The metrics of every step of every run, with its arm, its seed, and the calls made until then."""
    found: dict[tuple[str, int], pd.DataFrame] = {}
    for name in names:
        if (work / name / "ablation.json").exists():
            for cell in json.loads((work / name / "ablation.json").read_text(encoding="utf-8"))["cells"]:
                steps = pd.read_csv(work / cell["folder"] / "metrics.csv")
                done = calls * (np.arange(len(steps)) + 1) / len(steps)
                steps = steps.assign(arm=cell["arm"], seed=cell["seed"], calls=done)
                found.setdefault((cell["arm"], cell["seed"]), steps)
    return pd.concat(found.values(), ignore_index=True)


def draw(path: Path, steps: pd.DataFrame, arms: list[str], calls: int) -> None:
    """The reward of the clips that the runs learnt from, over the calls until then; means of seeds and of fifths."""
    panels = [arms[start : start + PANEL] for start in range(0, len(arms), PANEL)]
    part = np.ceil(steps["calls"] / calls * SMOOTH).clip(1, SMOOTH) - 0.5
    means = steps.assign(part=part * calls / SMOOTH / 1000).groupby(["arm", "part"])["reward"].mean()
    with styled():
        canvas, places = canvas_of(len(panels))
        for axes, shown in zip(places, panels, strict=True):
            for arm, colour, marker in zip(shown, COLOURS, MARKERS, strict=False):
                axes.plot(means[arm].index, means[arm], color=colour, marker=marker, markersize=4, label=arm)
            axes.set_xlabel("calls of the denoiser, thousands")
            axes.set_ylabel("reward of the run's clips")
            axes.legend(frameon=False, fontsize=8)
        save(canvas, path)


def main(work: Path, names: list[str], calls: int) -> None:
    """Write the table and the figure."""
    scores, steps = with_wins(scores_of(work, names)), courses(work, names, calls)
    table = standings(scores).join(others(scores), on="arm")
    write_table(HERE / names[0] / "standings", table)
    draw(HERE / names[0] / "learning.svg", steps, [arm for arm in table["arm"] if arm in set(steps["arm"])], calls)
    print(table.round(3).to_string())


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--calls", type=int, default=20_000, help="of each run, to a few percent (grids count them)")
    given = parser.parse_args()
    main(given.work, given.names, given.calls)
