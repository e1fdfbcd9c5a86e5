"""The long tables of scores and confounders, and what is derived from them: comparisons, win rates, cross-effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import (
    cluster_interval,
    controlled_win_rate,
    distribution_wins,
    holm,
    paired_wins,
    rank_biserial,
    win_rate,
)
from dragon_rewards.media.clips import to_mono
from dragon_rewards.media.loudness import confounders, measured
from dragon_rewards.storage.dataframes import Column
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dragon_rewards.evaluation import Interval, WinRate
    from dragon_rewards.media.clips import Clips
    from dragon_rewards.media.media import Media
    from dragon_rewards.rewards import Reward

COLUMNS = ["run", "model", "prompt_id", "seed", "reward", "value"]
JUDGED = dict.fromkeys(COLUMNS, Column.TEXT) | dict.fromkeys(("seed", "value"), Column.NUMBER)  # as files hold them
PAIR = ["model", "reward", "prompt_id", "seed"]
CONFOUNDERS = ["duration", "loudness", "silence"]
CLIP = ["prompt_id", "seed"]
MEASURED = {"run": Column.TEXT, "prompt_id": Column.TEXT} | dict.fromkeys(("seed", *CONFOUNDERS), Column.NUMBER)
BASELINE = "baseline"
WHOLE_SET = "all"


def scores_frame(
    run: str,
    model: str,
    clips: Media,
    rewards: Sequence[Reward],
    *,
    subsets: NDArray[np.int64],
    seeds: Sequence[int],
    prompts: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Score one model's clips with every reward: columns run, model, prompt_id, seed, reward, value (the raw metric).

    Kinds that judge clips have one row per clip, prompt_id p0000 onwards by prompt; kinds that judge sets have one row
    per row of `subsets`, s0000 onwards, with the seed of the subset's first clip, and one row `all` for the whole set.

    Args:
        run: the tuning that the clips belong to; BASELINE for the untuned model.
        model: the model that was tuned, such as the name of a pipeline.
        clips: the clips of the held-out prompts, in the same order for both models.
        rewards: the rewards to score with.
        subsets: index rows (subsets, size), the same for both models.
        seeds: the seed of each clip.
        prompts: the prompt of each clip, where some have several; by default each clip has its own.

    Raises:
        DragonError: the number of seeds or of prompts is not the number of clips, or a reward refuses the clips.
    """
    ids = _prompt_ids(len(clips), seeds, prompts)
    with torch.no_grad():
        rows = [
            {"run": run, "model": model, **row, "reward": reward.name}
            for reward in rewards
            for row in _scores(reward, clips, subsets, seeds, ids)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def confounders_frame(
    run: str, clips: Clips, seeds: Sequence[int], prompts: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure what a reward may follow instead of its question: columns run, prompt_id, seed, *CONFOUNDERS.

    There is a row per clip, as in `scores_frame`, with `dragon_rewards.media.loudness.confounders` of the mono mix:
    duration in seconds, loudness in LUFS and the share of silence.

    Raises:
        DragonError: the number of seeds or of prompts is not the number of clips, or the audio is gone.
    """
    if not clips.media or not clips.sample_rate:
        raise DragonError(f"confounders of run '{run}' are measured on audio; this set has none")
    rate = clips.sample_rate
    return measured_frame(run, [confounders([measured(to_mono(clip), rate)]) for clip in clips.media], seeds, prompts)


def measured_frame(
    run: str, measured: Sequence[Mapping[str, float]], seeds: Sequence[int], prompts: Sequence[str] | None = None
) -> pd.DataFrame:
    """Make the table of `confounders_frame` from the confounders of clips that were measured one by one.

    Raises:
        DragonError: the number of seeds or of prompts is not the number of clips.
    """
    ids = _prompt_ids(len(measured), seeds, prompts)
    rows = [
        {"run": run, "prompt_id": place, "seed": seed, **found}
        for place, seed, found in zip(ids, seeds, measured, strict=True)
    ]
    return pd.DataFrame(rows, columns=["run", *CLIP, *CONFOUNDERS])


def _prompt_ids(clips: int, seeds: Sequence[int], prompts: Sequence[str] | None) -> list[str]:
    """Return p0000 onwards for each clip's prompt, in the order in which the prompts appear first."""
    if len(seeds) != clips or (prompts is not None and len(prompts) != clips):
        given = counted(len(seeds), "seed") + ("" if prompts is None else f" and {counted(len(prompts), 'prompt')}")
        raise DragonError(f"{given} for {counted(clips, 'clip')}; give one per clip")
    numbers = range(clips) if prompts is None else pd.factorize(np.asarray(prompts, dtype=object))[0].tolist()
    return [f"p{number:04d}" for number in numbers]


def _scores(
    reward: Reward, clips: Media, subsets: NDArray[np.int64], seeds: Sequence[int], ids: Sequence[str]
) -> list[dict[str, Any]]:
    values = reward.metric(clips).double().cpu()
    if reward.kind.per_clip:
        return _rows(ids, seeds, values.tolist())
    # `subsets` values are signed so that higher is better; the frame holds raw metrics.
    metrics = reward.direction.sign * reward.subsets(clips)(torch.from_numpy(subsets)).double().cpu()
    whole = {"prompt_id": WHOLE_SET, "seed": seeds[0], "value": float(values)}
    names = [f"s{index:04d}" for index in range(len(subsets))]
    return [*_rows(names, [seeds[first] for first in subsets[:, 0]], metrics.tolist()), whole]


def _rows(names: Sequence[str], seeds: Sequence[int], values: Sequence[float]) -> list[dict[str, Any]]:
    return [
        {"prompt_id": name, "seed": seed, "value": value}
        for name, seed, value in zip(names, seeds, values, strict=True)
    ]


def comparisons(frame: pd.DataFrame, rewards: Sequence[Reward], trials: int) -> pd.DataFrame:
    """Compare each run with the baseline of the same model under every reward: one row per run and reward.

    Columns: run, reward, kind, direction, before, after (raw metric: mean over clips, or of the whole set), win_rate,
    lower, p_value, posterior, wins, trials, low, high, effect. Clips are paired by prompt and seed, subsets by their
    number and seed. A prompt with several clips is one trial, with the mean of its wins; low and high are the 95%
    interval of the win rate over prompts (`cluster_interval`; missing for kinds that judge sets). The effect is
    `rank_biserial`, 1 where every pair is better after.

    Args:
        frame: rows of `scores_frame` for BASELINE and for every other run.
        rewards: the rewards to compare under.
        trials: the independent trials of kinds that judge sets: prompts // subset size.

    Raises:
        DragonError: a row without exactly one of the baseline with the same model, reward, prompt and seed.
    """
    pairs = paired(frame)
    rows = [
        {"run": run, **_comparison(reward, group[group["reward"] == reward.name], trials)}
        for run, group in pairs.groupby("run", sort=False)
        for reward in rewards
    ]
    return pd.DataFrame(rows)


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every run's rows with the baseline's value beside each: columns run, *PAIR, before, after."""
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
    judged = pairs[~whole]
    before, after = (reward.direction.sign * judged[side].to_numpy(float) for side in ("before", "after"))
    wins, interval = _wins(before, after, judged["prompt_id"], None if reward.kind.per_clip else trials)
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
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "effect": rank_biserial(before, after),
    }


def _wins(
    before: NDArray[np.float64], after: NDArray[np.float64], prompts: pd.Series[str], trials: int | None
) -> tuple[WinRate, Interval | None]:
    """Compare prompt by prompt, with an interval, or, where the number of trials is given, subset by subset."""
    if trials is not None:
        return distribution_wins(before, after, trials), None
    wins = pd.Series(paired_wins(before, after), prompts.index)
    by_prompt = wins.groupby(prompts).mean()
    interval = cluster_interval(wins, prompts) if len(by_prompt) > 1 else None
    return win_rate(float(by_prompt.sum()), len(by_prompt)), interval


def win_table(
    compared: pd.DataFrame, served: Mapping[str, str], permutation: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return the comparisons under the target rewards alone: one row per run, under the reward it was tuned on.

    Args:
        compared: rows of `comparisons`.
        served: by run, the reward that served it, which differs from the run's name where a stand-in served.
        permutation: by run, p of `evaluation.permutation_test`, for the runs that were tested.

    Returns:
        `compared` with the column `reward` renamed to `served`, in the order of `served`, and two columns more:
        `permutation_p`, and `holm`: this p, or p_value where there is none, adjusted for as many rewards as there are
        rows.

    Raises:
        DragonError: a run has no comparison under its reward.
    """
    table = compared.rename(columns={"reward": "served"}).set_index(["run", "served"], drop=False)
    wanted = list(served.items())
    missing = [pair for pair in wanted if pair not in table.index]
    if missing:
        raise DragonError(f"run '{missing[0][0]}' was not compared under its reward '{missing[0][1]}'; score it")
    table = table.loc[wanted].reset_index(drop=True)
    tested = table["run"].map(permutation or {}).astype(float)
    return table.assign(permutation_p=tested, holm=holm(tested.fillna(table["p_value"])))


def cross_table(compared: pd.DataFrame) -> pd.DataFrame:
    """Return the win rates of every run (rows) under every reward (columns), both in their order of appearance."""
    rates = compared.pivot_table(index="run", columns="reward", values="win_rate", sort=False)
    return rates.rename_axis(columns=None)


def confounder_table(confounders: pd.DataFrame) -> pd.DataFrame:
    """Return the mean confounders of every run, in the order of appearance: columns run, *CONFOUNDERS."""
    return confounders.groupby("run", sort=False)[CONFOUNDERS].mean().reset_index()


def controlled_table(frame: pd.DataFrame, confounders: pd.DataFrame, rewards: Sequence[Reward]) -> pd.DataFrame:
    """Return the `controlled_win_rate` of each run under every reward that judges clips.

    Columns: run, reward, controlled, controlled_low, controlled_high; missing where it cannot be told.

    Args:
        frame: rows of `scores_frame` for BASELINE and for every other run.
        confounders: rows of `confounders_frame` for the same runs.
        rewards: the rewards to compare under; rewards of sets are passed over.

    Raises:
        DragonError: a row without exactly one of the baseline with the same model, reward, prompt and seed; or a clip
            that was scored has no confounders, or several.
    """
    pairs = _with_changes(paired(frame), confounders)
    rows = [
        {"run": run, "reward": reward.name, **_controlled(reward, group[group["reward"] == reward.name])}
        for run, group in pairs.groupby("run", sort=False)
        for reward in rewards
        if reward.kind.per_clip
    ]
    return pd.DataFrame(rows, columns=["run", "reward", "controlled", "controlled_low", "controlled_high"])


def _with_changes(pairs: pd.DataFrame, confounders: pd.DataFrame) -> pd.DataFrame:
    """Add to pairs of clips the change of each confounder from the baseline's clip to the run's."""
    measured = confounders.set_index(["run", *CLIP])[CONFOUNDERS]
    if measured.index.has_duplicates:
        run, prompt, seed = measured.index[measured.index.duplicated()][0]
        raise DragonError(
            f"run '{run}' has several confounders for prompt {prompt}, seed {seed}; measure each clip once"
        )
    keys = pairs[["run", *CLIP]]
    changes = measured.reindex(pd.MultiIndex.from_frame(keys)).to_numpy()
    changes = changes - measured.reindex(pd.MultiIndex.from_frame(keys.assign(run=BASELINE))).to_numpy()
    return pairs.assign(**dict(zip(CONFOUNDERS, changes.T, strict=True)))


def _controlled(reward: Reward, pairs: pd.DataFrame) -> dict[str, float | None]:
    for row in pairs[pairs["duration"].isna()].to_dict("records"):
        where = f"prompt {row['prompt_id']}, seed {row['seed']}"
        raise DragonError(
            f"run '{row['run']}' or the baseline has no confounders for {where}; measure every scored clip"
        )
    before, after = (reward.direction.sign * pairs[side].to_numpy(float) for side in ("before", "after"))
    found = controlled_win_rate(before, after, pairs[CONFOUNDERS].to_numpy(), pairs["prompt_id"])
    figures = (found.mean, found.low, found.high) if found else (None, None, None)
    return dict(zip(("controlled", "controlled_low", "controlled_high"), figures, strict=True))
