"""Show the last comparison of a run with the untuned model on prompts that were kept from training."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards import compose
from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation import win_rate
from dragon_rewards.mixture import compose_mixture
from dragon_train.bench.report import charts
from dragon_train.bench.report.cells import NOISE, TARGET, share
from dragon_train.bench.report.comparison import wins_spec
from dragon_train.bench.report.evidence import evident
from dragon_train.bench.report.source import columns_of
from dragon_train.bench.report.tables import HELDOUT, UNTUNED, WON, frame_table
from dragon_train.bench.report.view import Chart, Section
from dragon_train.loop.heldout import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dragon_train.bench.report.source import TrainedRun

NOTE = (
    "Last comparison with the untuned model on prompts kept from training, with the same seeds; ties are half. The "
    "line reaches down to the one-sided 95% Clopper-Pearson bound. Rewards of sets compare random quarters of the "
    "prompts, and count four trials at most. What the bound leaves open is grey, and the run's own reward is marked as "
    "the target."
)
COLUMNS = ("reward", "before", "after", "win_rate", "lower", "trials")


def own_rewards(run: TrainedRun) -> tuple[str, ...]:
    """Return the names of the rewards that a run is tuned toward; none where one of them is not installed."""
    with suppress(DragonError):
        return tuple(part.name for part in compose_mixture(run.config.reward).parts)
    return (run.config.reward,)


def heldout_rows(run: TrainedRun) -> list[dict[str, Any]]:
    """Return a row for each reward of the last comparison, the run's own first; none if it made no comparison."""
    won = [name for name in columns_of(run.metrics) if name.startswith(WON)]
    compared = run.metrics[won].dropna() if won else pd.DataFrame()
    if compared.empty:
        return []
    last, own = run.metrics.loc[compared.index[-1]], own_rewards(run)
    rows = [heldout_row(name.removeprefix(WON), last, run.config.heldout_prompts) for name in won]
    return sorted(({**row, "own": row["reward"] in own} for row in rows), key=lambda row: not row["own"])


def heldout_row(reward: str, last: pd.Series[float], prompts: int) -> dict[str, Any]:
    """Return one reward's row of the comparison on prompts kept from training.

    It has no bound where a part of the reward is not installed, as the number of trials is unknown then, and no value
    of the untuned model where an earlier version recorded none.

    Args:
        reward: its name.
        last: the row of metrics.csv with the comparison.
        prompts: how many were compared on.
    """
    rate = float(last[f"{WON}{reward}"])
    values = {"before": last.get(f"{UNTUNED}{reward}"), "after": float(last[f"{HELDOUT}{reward}"])}
    row = {"reward": reward, **values, "win_rate": rate}
    try:
        composed = compose(reward)
    except DragonError:
        return {**row, "lower": None, "trials": None, "clear": False}
    size = 1 if composed.kind.per_clip else max(prompts // PARTS, composed.reduction.minimum_clips)
    wins = win_rate(rate * (prompts // size), prompts // size)
    return {**row, "lower": wins.lower, "trials": wins.trials, "clear": evident(rate, wins.trials)}


def heldout_section(run: TrainedRun) -> Section | None:
    """Show the win rates of the last comparison with their bounds; None if the run made no such comparison."""
    rows = heldout_rows(run)
    if not rows:
        return None
    table = pd.DataFrame(rows)
    columns = [column for column in COLUMNS if table[column].notna().any()]
    looks = {"win_rate": unclear, "lower": unclear, "reward": marked}
    shown = frame_table("Win rates on prompts kept from training", table, looks, columns)
    return Section(
        "wins", "Win rates", "Win rates", (NOTE,), (Chart("Win rates", wins_spec(drawn(rows)), shown, open=True),)
    )


def marked(row: Mapping[str, Any]) -> str:
    """Return the look of a row: marked where it is the run's own reward."""
    return TARGET if row["own"] else ""


def unclear(row: Mapping[str, Any]) -> str:
    """Return the look of a win rate: grey where its bound leaves open which model is better."""
    return "" if row["clear"] else NOISE


def drawn(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the win rates as `charts.forest` draws them."""
    return pd.DataFrame(
        {
            "name": [row["reward"] + (" (target)" if row["own"] else "") for row in rows],
            "value": [row["win_rate"] for row in rows],
            "low": [row["lower"] for row in rows],
            "high": [row["win_rate"] for row in rows],
            "evidence": [charts.EFFECT if row["clear"] else charts.NOISE for row in rows],
            "text": [bounded(row) for row in rows],
        }
    )


def bounded(row: Mapping[str, Any]) -> str:
    """Write a win rate with its bound as a line of text."""
    bound = "" if row["lower"] is None else f", at least {share(row['lower']).text}"
    return f"{share(row['win_rate']).text}{bound}"
