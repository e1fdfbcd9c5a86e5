"""The long frame of scores, and the tables that are derived from it: comparisons, win rates, cross-effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import distribution_wins, instance_wins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from dragon_rewards.media import Media
    from dragon_rewards.rewards import Reward

COLUMNS = ["run", "model", "prompt_id", "seed", "reward", "value"]
PAIR = ["model", "reward", "prompt_id", "seed"]
BASELINE = "baseline"
WHOLE_SET = "all"


def scores_frame(
    run: str, model: str, clips: Media, rewards: Sequence[Reward], *, subsets: NDArray[np.int64], seeds: Sequence[int]
) -> pd.DataFrame:
    """Every reward's raw metric of one model's clips: columns run, model, prompt_id, seed, reward, value.

    Kinds that judge clips have one row per clip, prompt_id p0000 onwards; kinds that judge sets have one row per row
    of `subsets`, s0000 onwards, with the seed of the subset's first clip, and one row `all` for the whole set.

    Args:
        run: the tuning that the clips belong to; BASELINE for the untuned model.
        model: the model that was tuned, such as the name of a pipeline.
        clips: one clip per held-out prompt, in the order of the prompts.
        rewards: the rewards to score with.
        subsets: index rows (subsets, size), the same for both models.
        seeds: the seed of each clip.

    Raises:
        DragonError: another number of seeds than clips; otherwise as the rewards do.
    """
    if len(seeds) != len(clips):
        raise DragonError(f"{len(seeds)} seeds for {len(clips)} clips; give one seed per clip")
    with torch.no_grad():
        rows = [
            {"run": run, "model": model, **row, "reward": reward.name}
            for reward in rewards
            for row in _scores(reward, clips, subsets, seeds)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _scores(reward: Reward, clips: Media, subsets: NDArray[np.int64], seeds: Sequence[int]) -> list[dict[str, Any]]:
    values = reward.metric(clips).double().cpu()
    if reward.kind.per_clip:
        return _rows("p", seeds, values.tolist())
    # `subsets` values are signed so that higher is better; the frame holds raw metrics.
    metrics = reward.direction.sign * reward.subsets(clips)(torch.from_numpy(subsets)).double().cpu()
    whole = {"prompt_id": WHOLE_SET, "seed": seeds[0], "value": float(values)}
    return [*_rows("s", [seeds[first] for first in subsets[:, 0]], metrics.tolist()), whole]


def _rows(letter: str, seeds: Sequence[int], values: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"{letter}{index:04d}", "seed": seed, "value": value}
        for index, (seed, value) in enumerate(zip(seeds, values, strict=True))
    ]


def comparisons(frame: pd.DataFrame, rewards: Sequence[Reward], trials: int) -> pd.DataFrame:
    """Each run against the baseline of the same model under every reward, one row per run and reward.

    Columns: run, reward, kind, direction, before, after (raw metric: mean over clips, or of the whole set), win_rate,
    lower, p_value, posterior, wins, trials. Clips are paired by prompt and seed, subsets by their number and seed.

    Args:
        frame: rows of `scores_frame` for BASELINE and for every other run.
        rewards: the rewards to compare under.
        trials: the independent trials of kinds that judge sets: prompts // subset size.

    Raises:
        DragonError: a row without exactly one of the baseline with the same model, reward, prompt and seed.
    """
    pairs = _pairs(frame)
    rows = [
        {"run": run, **_comparison(reward, group[group["reward"] == reward.name], trials)}
        for run, group in pairs.groupby("run", sort=False)
        for reward in rewards
    ]
    return pd.DataFrame(rows)


def _pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """Every run's rows with the baseline's value beside each: columns run, *PAIR, before, after."""
    baseline = frame[frame["run"] == BASELINE].rename(columns={"value": "before"})[[*PAIR, "before"]]
    runs = frame[frame["run"] != BASELINE].rename(columns={"value": "after"})
    _refuse(baseline[baseline.duplicated(PAIR)], "several values")
    pairs = runs.merge(baseline, on=PAIR, how="left")
    _refuse(pairs[pairs["before"].isna()], "no value")
    return pairs


def _refuse(rows: pd.DataFrame, problem: str) -> None:
    for row in rows[PAIR].to_dict("records"):
        raise DragonError(
            f"the baseline of model '{row['model']}' has {problem} for reward '{row['reward']}', prompt "
            f"{row['prompt_id']}, seed {row['seed']}; score it once, on the same prompts, seeds and subsets as the runs"
        )


def _comparison(reward: Reward, pairs: pd.DataFrame, trials: int) -> dict[str, Any]:
    if pairs.empty:
        raise DragonError(f"a run has no values of reward '{reward.name}'; score every run with it")
    whole = pairs["prompt_id"] == WHOLE_SET
    means = pairs[whole | reward.kind.per_clip][["before", "after"]].mean()
    before, after = (reward.direction.sign * pairs.loc[~whole, side].to_numpy(float) for side in ("before", "after"))
    wins = instance_wins(before, after) if reward.kind.per_clip else distribution_wins(before, after, trials)
    return {
        "reward": reward.name,
        "kind": str(reward.kind),
        "direction": str(reward.direction),
        "before": float(means["before"]),
        "after": float(means["after"]),
        "win_rate": wins.rate,
        "lower": wins.lower,
        "p_value": wins.p_value,
        "posterior": wins.posterior,
        "wins": wins.wins,
        "trials": wins.trials,
    }


def win_table(compared: pd.DataFrame, served: Mapping[str, str]) -> pd.DataFrame:
    """The target rewards alone: one row per run, under the reward it was tuned on.

    Args:
        compared: rows of `comparisons`.
        served: run -> the reward that served it, which differs from the run's name where a stand-in served.

    Returns:
        `compared` with the column `reward` renamed to `served`, in the order of `served`.

    Raises:
        DragonError: a run has no comparison under its reward.
    """
    table = compared.rename(columns={"reward": "served"}).set_index(["run", "served"], drop=False)
    wanted = list(served.items())
    missing = [pair for pair in wanted if pair not in table.index]
    if missing:
        raise DragonError(f"run '{missing[0][0]}' was not compared under its reward '{missing[0][1]}'; score it")
    return table.loc[wanted].reset_index(drop=True)


def cross_table(compared: pd.DataFrame) -> pd.DataFrame:
    """Win rates of every run (rows) under every reward (columns), both in their order of appearance."""
    rates = compared.pivot_table(index="run", columns="reward", values="win_rate", sort=False)
    return rates.rename_axis(columns=None)
