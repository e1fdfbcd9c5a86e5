"""The held-out protocol: what was optimised is judged by encoders and exemplar sets that training never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from dragon_rewards.names import RewardName

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

CAPTIONS = "-captions"  # a set of captions describes the same music as the set of audio it is named after
EVEN = 0.5  # a win rate that shows nothing


def is_held_out(optimised: str, judge: str) -> bool:
    """Return whether training on the reward `optimised` never saw what the reward `judge` judges by.

    The judge has to have another encoder and, where it has an exemplar set, one that is neither the optimised reward's
    own nor of the same music: `airs` and `airs-captions` are not held out from each other. The reduction may be the
    same.

    Raises:
        ComposeError: a name is no reward's.

    >>> is_held_out("per-song-fad:clap@airs", "per-song-fad:vae@tunebook")
    True
    >>> is_held_out("per-song-fad:clap@airs", "vendi:clap"), is_held_out("vendi:clap", "dataset-fad:clap@airs")
    (False, False)
    >>> is_held_out("per-song-fad:clap@airs-captions", "per-song-fad:vae@airs")
    False
    """
    target, other = RewardName.parse(optimised), RewardName.parse(judge)
    music = {_music(name) for name in (target, other) if name.exemplar_set}
    shared = target.exemplar_set and other.exemplar_set and len(music) == 1
    return target.encoder != other.encoder and not shared


def same_question(optimised: str, judge: str) -> bool:
    """Return whether two rewards are of one reduction, so that a real gain on one is expected on the other.

    Raises:
        ComposeError: a name is no reward's.

    >>> same_question("per-song-fad:clap@airs", "per-song-fad:vae@tunebook")
    True
    """
    return RewardName.parse(optimised).reduction == RewardName.parse(judge).reduction


def carry_over(compared: pd.DataFrame, served: Mapping[str, str]) -> pd.DataFrame:
    """Return what each run gained on its own reward, and what is left of it under held-out ones.

    Args:
        compared: rows of `score_tables.comparisons`, every run under every reward.
        served: by run, the reward that it was tuned on.

    Returns:
        A row per run, with these columns: `run`; `target`, its win rate under its own reward; `heldout`, the mean win
        rate under its held-out rewards; `judges`, the number of these; `same_question`, the mean win rate under the
        held-out rewards with its own reduction; `without_gain`, the names of these with a win rate of 1/2 or less.
        Means of nothing are missing.

    >>> rewards = ["vendi:clap", "vendi:vae"]
    >>> compared = pd.DataFrame({"run": "vendi:clap", "reward": rewards, "win_rate": [0.9, 0.4]})
    >>> carry_over(compared, {"vendi:clap": "vendi:clap"})["without_gain"].item()
    'vendi:vae'
    """
    rates = compared.set_index(["run", "reward"])["win_rate"]
    return pd.DataFrame([_carried(run, reward, rates[run]) for run, reward in served.items()])


def _carried(run: str, reward: str, rates: pd.Series[float]) -> dict[Hashable, object]:
    heldout = rates[[is_held_out(reward, str(judge)) for judge in rates.index]]
    asked = heldout[[same_question(reward, str(judge)) for judge in heldout.index]]
    return {
        "run": run,
        "target": float(rates[reward]),
        "heldout": float(heldout.mean()),
        "judges": len(heldout),
        "same_question": float(asked.mean()),
        "without_gain": ", ".join(map(str, asked.index[asked <= EVEN])),
    }


def carry_over_summary(carried: pd.DataFrame) -> str:
    """Name every run whose gain does not carry over, in sentences for a report.

    A run gained where its win rate under its own reward is above 1/2. The gain does not carry over where the mean win
    rate under held-out rewards of the same reduction is 1/2 or less; where there are none, nothing can be told.

    Args:
        carried: rows of `carry_over`.
    """
    gained = carried[carried["target"] > EVEN]
    groups = {
        "Gains that do not carry over to held-out rewards of the same reduction": gained["same_question"] <= EVEN,
        "Not told, for want of a held-out reward of the same reduction": gained["same_question"].isna(),
    }
    lines = [f"{title}: {_names(gained.loc[rows, 'run'])}." for title, rows in groups.items()]
    return " ".join([*lines, f"No gain on their own reward: {_names(carried.loc[carried['target'] <= EVEN, 'run'])}."])


def _names(runs: pd.Series[str]) -> str:
    return ", ".join(f"`{run}`" for run in runs) or "none"


def _music(name: RewardName) -> str:
    return (name.exemplar_set or "").removesuffix(CAPTIONS)
