"""Read and check what a folder of `dragon train` or `dragon bench` holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.evaluation.score_tables import BASELINE, JUDGED, PAIR
from dragon_rewards.names import RewardName
from dragon_rewards.storage.dataframes import Column, read_csv, read_parquet
from dragon_train.bench import result_files as names
from dragon_train.bench.record import BenchmarkRecord, check_results, read_record
from dragon_train.bench.result_files import CONTROLLED, CROSS_EFFECTS, HELD_OUT, SCORES, SETTINGS, WIN_RATES
from dragon_train.loop.run_folder import CONFIG, METRICS, is_finished, stored_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from dragon_train.config import TrainConfig
    from dragon_train.loop.run_folder import Provenance

WINS, CROSS, CARRIED, CONFOUNDERS = (f"{table}.csv" for table in (WIN_RATES, CROSS_EFFECTS, HELD_OUT, CONTROLLED))
CEILINGS, COLLATERAL, HEADLINE, FACETS = (
    f"{table}.csv" for table in (names.CEILINGS, names.COLLATERAL, names.HEADLINE, names.FACETS)
)
CHANGE = ("change", "change_low", "change_high")  # columns of WINS; earlier versions wrote none
UNFINISHED = "the benchmark is not finished; the same `dragon bench` command resumes it"
STEPS = dict.fromkeys(("step", "reward"), Column.NUMBER)
RUN = {"run": Column.TEXT}
WON = RUN | dict.fromkeys(("served", "direction"), Column.TEXT)
WON |= dict.fromkeys(("before", "after", "win_rate", "lower", "holm"), Column.NUMBER)
ENDS = ("", "_low", "_high")
REACHED = RUN | {"headroom": Column.ANYTHING, "share": Column.FIGURE}
REACHED |= {f"{of}{end}": Column.FIGURE for of in ("real", "codec", "untuned", "tuned") for end in ENDS}
SUMMED = dict.fromkeys(("figure", "rewards"), Column.TEXT) | dict.fromkeys(("mean", "low", "high"), Column.FIGURE)
PARTED = RUN | dict.fromkeys(("facet", "clip_1", "clip_2", "clip_3"), Column.TEXT) | {"finding": Column.ANYTHING}
PARTED |= dict.fromkeys(("untuned", "tuned", "p_value"), Column.NUMBER)
FURTHER: dict[str, tuple[dict[str, Column], Column | None]] = {  # tables that a benchmark may have: columns, and others
    CARRIED: (RUN, None),
    CONFOUNDERS: (RUN, Column.FIGURE),
    CEILINGS: (REACHED, None),
    COLLATERAL: (RUN, Column.FIGURE),
    HEADLINE: (SUMMED, Column.FIGURE),
    FACETS: (PARTED, None),
}


@dataclass(frozen=True)
class TrainedRun:
    """A tuning run, as its folder holds it.

    Attributes:
        name: the reward, or in a benchmark the slot of the suite.
        folder: where it is.
        config: its settings, from config.json.
        provenance: what it was made with, from config.json.
        metrics: metrics.csv, a row per step.
    """

    name: str
    folder: Path
    config: TrainConfig
    provenance: Provenance
    metrics: pd.DataFrame

    @property
    def finished(self) -> bool:
        """True if its weights are there, so that the tuned model can be heard."""
        return is_finished(self.folder)


@dataclass(frozen=True)
class BenchmarkTables:
    """The tables and settings that a benchmark has beside its runs.

    Attributes:
        settings: from benchmark.json.
        wins: win_rates.csv, a row per run.
        cross: cross_effects.csv, runs x rewards.
        scores: the long frame of all scores.
        further: the tables of `FURTHER` that are there, by the names of their files.
    """

    settings: BenchmarkRecord
    wins: pd.DataFrame
    cross: pd.DataFrame
    scores: pd.DataFrame
    further: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Results:
    """A folder of results: a benchmark with its runs, or one run alone.

    Attributes:
        folder: where they are.
        runs: at least one.
        benchmark: None for one run alone.
    """

    folder: Path
    runs: tuple[TrainedRun, ...]
    benchmark: BenchmarkTables | None

    @property
    def provenance(self) -> Provenance:
        """The versions, plugins and hardware that made the results, from the benchmark or else from the first run."""
        found = self.benchmark.settings.provenance if self.benchmark else None
        return found or self.runs[0].provenance


def read_results(folder: Path) -> Results:
    """Read a folder of `dragon train` or `dragon bench`.

    Raises:
        DragonError: it is no such folder, or what it holds is not finished or cannot be read.
    """
    check_results(folder)
    if not (folder / SETTINGS).is_file():
        return Results(folder, (read_run(folder),), None)
    tables = read_benchmark(folder)
    names = tables.wins["run"]
    return Results(folder, tuple(read_run(folder / RewardName.parse(name).slug, name) for name in names), tables)


def read_run(folder: Path, name: str | None = None) -> TrainedRun:
    """Read one run, under the name of its reward if no other is given.

    Raises:
        DragonError: a file is missing or cannot be read, or the files do not belong to one run.
    """
    config, provenance = stored_run(folder)
    metrics = filled(
        read_csv(folder / METRICS, STEPS, "run `dragon train` first", rest=Column.FIGURE), folder / METRICS
    )
    won = [column for column in columns_of(metrics) if column.startswith("win rate ")]
    lacking = [of for column in won if (of := column.replace("win rate", "heldout", 1)) not in metrics.columns]
    if lacking or (won and not config.heldout_prompts):
        raise DragonError(
            f"'{folder / METRICS}' is not of the run in {CONFIG}: {', '.join(lacking or won)}; restore it"
        )
    return TrainedRun(name or config.reward, folder, config, provenance, metrics)


def read_benchmark(folder: Path) -> BenchmarkTables:
    """Read the tables of a finished benchmark, and check that they belong together.

    Raises:
        DragonError: a table is missing, cannot be read, has a row twice, or lacks a run or a reward.
    """
    tables = BenchmarkTables(
        read_record(folder),
        filled(read_wins(folder / WINS), folder / WINS),
        read_csv(folder / CROSS, RUN, UNFINISHED, rest=Column.FIGURE).set_index("run"),
        read_parquet(folder / SCORES, JUDGED, UNFINISHED),
        read_further(folder),
    )
    if tables.scores.duplicated(["run", *PAIR]).any() or tables.wins.duplicated("run").any():
        raise DragonError(f"'{folder / SCORES}' or '{folder / WINS}' has a row twice; {UNFINISHED}")
    runs, served = set(tables.wins["run"]), set(tables.wins["served"])
    for file, found, wanted in (
        (CROSS, set(tables.cross.index), runs),
        (SCORES, set(tables.scores["run"]), {BASELINE, *runs}),
        (SCORES, set(tables.scores["reward"]), served),
    ):
        if not wanted <= found:
            lacking = ", ".join(sorted(wanted - found))
            raise DragonError(f"'{folder / file}' lacks {lacking}, which '{folder / WINS}' names; {UNFINISHED}")
    return tables


def read_further(folder: Path) -> Mapping[str, pd.DataFrame]:
    """Read the tables of `FURTHER` that are there.

    Raises:
        DragonError: one of them cannot be read.
    """
    there = {name: wanted for name, wanted in FURTHER.items() if (folder / name).exists()}
    return {name: read_csv(folder / name, of, UNFINISHED, rest=rest) for name, (of, rest) in there.items()}


def read_wins(path: Path) -> pd.DataFrame:
    """Read win_rates.csv, with or without the columns of changes.

    Raises:
        DragonError: it is missing, or cannot be read.
    """
    table = read_csv(path, WON, UNFINISHED)
    if not set(CHANGE) <= set(table.columns):
        return table
    return read_csv(path, WON | dict.fromkeys(CHANGE, Column.FIGURE), UNFINISHED)


def filled(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table that has at least one row.

    Raises:
        DragonError: it has none; names the file.
    """
    if table.empty:
        raise DragonError(f"'{path}' holds no row; the command that wrote it resumes")
    return table


def columns_of(frame: pd.DataFrame) -> list[str]:
    """Return the names of a table's columns, which in a file are text."""
    return [str(column) for column in frame.columns]
