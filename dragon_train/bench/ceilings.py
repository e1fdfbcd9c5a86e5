"""Say of each run of a benchmark whether its reward rates real music above the untuned model, and how far tuning went.

Where it does not, a better value is no step toward music.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.storage.results import write_table
from dragon_train.bench.real_clips import AS_IS, CODEC, judges_music, origin_of, read_real
from dragon_train.bench.result_files import CEILINGS, REAL, REAL_MUSIC
from dragon_train.embedded.real_music import AGAIN, VALUES
from dragon_train.prompts import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dragon_rewards.rewards import Reward

WITH_ENDS = [f"{name}{end}" for name in (AS_IS, CODEC, "untuned", "tuned") for end in ("", "_low", "_high")]
COLUMNS = ["run", "served", "music", *WITH_ENDS, "headroom", "share", "note"]
MEASURE_AGAIN = "delete it, and name the clips by --real again"
TEXT = (
    "What real held-out music has under each reward, as it is and through the pipeline's autoencoder, of as many clips "
    "as are compared. There is `headroom` where the untuned model is worse than real music, with 95% intervals that do "
    "not touch; `share` is how much of the way to real music the tuning went. Without headroom the reward rates the "
    "untuned model as high as real music, or higher, and a better value is no step toward music."
)


class Span(NamedTuple):
    """A metric with the ends of its 95% interval, missing values being NaN."""

    value: float
    low: float
    high: float


MISSING = Span(float("nan"), float("nan"), float("nan"))


def write_ceilings(out: Path, pipeline: str, clips: int, wins: pd.DataFrame) -> pd.DataFrame | None:
    """Write the table of ceilings, CSV and Markdown, and return it; None where no real music was measured.

    Args:
        out: the folder of the benchmark; values of `--real` in it are taken before those that ship.
        pipeline: what was tuned.
        clips: the number of clips of each model.
        wins: rows of `win_table`, with intervals of the metrics where there are some.

    Raises:
        DragonError: the values of real music cannot be read.
    """
    own = out / REAL / REAL_MUSIC
    if own.exists():
        measured = read_real(own, MEASURE_AGAIN)
    elif pipeline == EMBEDDED and VALUES.exists():
        measured = read_real(VALUES, AGAIN)
    else:
        return None
    table = ceilings(wins, measured, clips)
    write_table(out / CEILINGS, table)
    return table


def ceilings(wins: pd.DataFrame, measured: pd.DataFrame, clips: int) -> pd.DataFrame:
    """Return a row for each run: its reward of real music, of the untuned and of the tuned model.

    Args:
        wins: rows of `win_table`; of `before` and `after` with `_low` and `_high` the intervals are taken.
        measured: rows of `real_clips.COLUMNS`.
        clips: the number of clips of each model.

    Returns:
        The columns `COLUMNS`. `note` says why a row has no real value, and then no headroom.
    """
    return pd.DataFrame([ceiling(row, measured, clips) for row in wins.to_dict("records")], columns=COLUMNS)


def ceiling(row: Mapping[Any, Any], measured: pd.DataFrame, clips: int) -> dict[str, Any]:
    """Return the row of a run, of its row in the win table."""
    reward = compose(row["served"])
    found = measured[measured["reward"] == reward.name]
    note = fault(reward, found, clips)
    usable = found[found["clips"] == clips] if not note else found[:0]
    real, codec = (span_of(usable, model) for model in (AS_IS, CODEC))
    untuned, tuned = (span(row, name) for name in ("before", "after"))
    room = headroom(reward.direction.sign, untuned, real)
    spans = dict(zip(WITH_ENDS, (*real, *codec, *untuned, *tuned), strict=True))
    music = str(usable["music"].iloc[0]) if len(usable) else None
    share = (untuned.value - tuned.value) / (untuned.value - real.value) if room else None
    given = {"run": row["run"], "served": reward.name, "music": music, "headroom": room, "share": share}
    return {**given, **spans, "note": note}


def fault(reward: Reward, found: pd.DataFrame, clips: int) -> str | None:
    """Say why what was measured of real music under a reward cannot be used; None if it can.

    Args:
        reward: the reward of a run.
        found: the rows that were measured under it.
        clips: the number of clips of each model.
    """
    if not judges_music(reward):
        return "its exemplar set holds texts, no music"
    if found.empty:
        return "no real music was measured under it" + (" with prompts" if reward.reduction.needs_prompts else "")
    if (found["origin"] != origin_of(reward)).any():
        return "real music was measured with other weights of its encoder, or another exemplar set"
    counts = sorted({int(count) for count in found["clips"]})
    return None if clips in counts else f"real music was measured of {', '.join(map(str, counts))} clips, not {clips}"


def headroom(sign: int, untuned: Span, real: Span) -> bool | None:
    """Tell whether the untuned model is worse than real music, with intervals that do not touch; None if unknown.

    >>> headroom(-1, Span(3, 2.5, 3.5), Span(1, 0.5, 1.5)), headroom(1, Span(3, 2.5, 3.5), Span(1, 0.5, 1.5))
    (True, False)

    Args:
        sign: 1 where higher is better, -1 where lower is.
        untuned: of the untuned model.
        real: of real music.
    """
    if pd.isna([*untuned, *real]).any():
        return None
    return untuned.high < real.low if sign > 0 else untuned.low > real.high


def span_of(rows: pd.DataFrame, model: str) -> Span:
    """Return the value of real clips, as they are or through the autoencoder; missing if there is none."""
    chosen = rows[rows["model"] == model]
    return Span(*chosen[["value", "low", "high"]].iloc[0]) if len(chosen) else MISSING


def span(row: Mapping[Any, Any], name: str) -> Span:
    """Return a metric of a row of the win table with its interval; the ends are missing where there are none."""
    return Span(*(float(row.get(f"{name}{end}", float("nan"))) for end in ("", "_low", "_high")))
