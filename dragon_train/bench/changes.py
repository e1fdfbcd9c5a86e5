"""How far the metric of each run moved from the untuned model's, with intervals, as columns of a table of win rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dragon_rewards import compose
from dragon_rewards.evaluation import clip_change
from dragon_rewards.evaluation.score_tables import paired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_rewards.evaluation import Change

SIDES = ("before", "after", "change")
COLUMNS = [f"{side}{end}" for side in SIDES for end in ("", "_low", "_high")]


def with_changes(wins: pd.DataFrame, frame: pd.DataFrame, of_sets: Mapping[str, Change | None]) -> pd.DataFrame:
    """Return a table of win rates with `COLUMNS` in the place of before and after: raw metrics and 95% intervals.

    Args:
        wins: rows of `score_tables.win_table`.
        frame: the long frame of all scores, whose clips `clip_change` compares.
        of_sets: by run, the change under its reward of whole sets; without one, the intervals are missing.
    """
    clips = dict(iter(paired(frame).groupby(["run", "reward"])))
    ends = pd.DataFrame(
        [
            _ends(clip_change(*(clips[run, served][column] for column in ("before", "after", "prompt_id"))))
            if compose(served).kind.per_clip
            else _ends(of_sets.get(run))
            for run, served in zip(wins["run"], wins["served"], strict=True)
        ]
    )
    known = wins.assign(change=wins["after"] - wins["before"], **ends)
    others = [str(column) for column in wins.columns if column not in SIDES]
    place = list(wins.columns).index("before")
    return known[[*others[:place], *COLUMNS, *others[place:]]]


def _ends(found: Change | None) -> dict[str, float]:
    """Return the ends of the intervals by the names of their columns, which are missing where there are none."""
    return {
        f"{side}_{end}": getattr(getattr(found, side), end) if found else np.nan
        for side in SIDES
        for end in ("low", "high")
    }
