"""Let judges that nothing is tuned toward score every model of a benchmark beside its suite, and keep that apart.

A suite's rewards are targets of its runs, and each watches the others; a judge is never a target.
"""

from __future__ import annotations

import logging
from time import perf_counter
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dragon_rewards import compose
from dragon_rewards.errors import AudioError
from dragon_rewards.evaluation import is_held_out
from dragon_rewards.evaluation.score_tables import BASELINE, JUDGED, comparisons
from dragon_rewards.storage.dataframes import Column, read_parquet
from dragon_rewards.storage.results import write_parquet
from dragon_rewards.terminal.printable import counted
from dragon_train.bench.result_files import JUDGEMENTS
from dragon_train.judges import judges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from dragon_rewards.rewards import Reward

COLUMN, SECONDS = "musicnn", "seconds"  # of the table of what was held out; of a model's judgements

log = logging.getLogger(__name__)


def judge(folder: Path, scores: Callable[[Sequence[Reward]], pd.DataFrame]) -> None:
    """Let the judges score a model's clips, and write what they found, and how long they took, to its folder.

    Nothing is written where there is no judge, or where the clips are too short for one.

    Args:
        folder: of the model's scores.
        scores: makes the long frame of the model's clips under some rewards.
    """
    asked, start = judges(), perf_counter()
    if not asked:
        return
    try:
        with torch.no_grad():
            frame = scores(asked)
    except AudioError as error:
        log.warning("no judgement by %s: %s", COLUMN, error)
        return
    write_parquet(folder / JUDGEMENTS, frame.assign(**{SECONDS: perf_counter() - start}))


def read_judgements(folders: Iterable[Path]) -> pd.DataFrame | None:
    """Return the judgements of all models; None if one has none.

    Raises:
        DragonError: a file cannot be read.
    """
    files = [folder / JUDGEMENTS for folder in folders]
    if not all(file.exists() for file in files):
        return None
    columns = {**JUDGED, SECONDS: Column.NUMBER}
    return pd.concat([read_parquet(file, columns, "delete it and scores.parquet beside it") for file in files])


def judged(frame: pd.DataFrame, served: Mapping[str, str], trials: int) -> pd.Series[float]:
    """Return by run the mean win rate under the judges that are held out from it, as to encoder and music.

    Args:
        frame: what `read_judgements` returned, of the untuned model and of every run.
        served: by run, the reward that it was tuned on.
        trials: as for `comparisons`.
    """
    compared = comparisons(frame, [compose(str(name)) for name in frame["reward"].unique()], trials)
    pairs = zip(compared["run"].map(str), compared["reward"].map(str), strict=True)
    apart = [is_held_out(served[run], reward) for run, reward in pairs]
    rates: pd.Series[float] = compared[apart].groupby("run")["win_rate"].mean()
    return rates.reindex(list(served)).rename(COLUMN)


def describe(frame: pd.DataFrame, rates: pd.Series[float]) -> str:
    """Say what the judges found and how long they took, in sentences for a report."""
    seconds = frame.drop_duplicates("run")[SECONDS].sum()
    names = " and ".join(f"`{name}`" for name in frame["reward"].unique())
    return (
        f"`{COLUMN}` is the mean win rate under {names}, as far as they are held out: a judge that heard real music, "
        f"and that no run was tuned toward. Under it {int((rates > 1 / 2).sum())} of {counted(len(rates), 'run')} "
        f"are above 50%, {rates.mean():.1%} on average. It took {seconds:.0f} s of all processes together, for "
        f"{frame['run'].nunique()} models; `{BASELINE}` is one of them."
    )
