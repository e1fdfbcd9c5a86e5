"""What a folder of `dragon train` or `dragon bench` holds, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.errors import ConfigError
from dragon_rewards.names import RewardName
from dragon_train.run_folder import CHECKPOINT, CONFIG, METRICS, has_result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SETTINGS, SCORES, WINS, CROSS = "benchmark.json", "scores.parquet", "win_rates.csv", "cross_effects.csv"
CARRIED, CONFOUNDERS = "held_out.csv", "confounders.csv"


@dataclass(frozen=True)
class TrainedRun:
    """One tuning run.

    Attributes:
        name: the reward, or in a benchmark the slot of the suite.
        folder: where it is.
        config: as config.json has it.
        provenance: likewise.
        metrics: metrics.csv, a row per step.
    """

    name: str
    folder: Path
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    metrics: pd.DataFrame

    @property
    def finished(self) -> bool:
        """Whether its weights are there to be heard."""
        return has_result(self.folder) and not (self.folder / CHECKPOINT).exists()


@dataclass(frozen=True)
class BenchmarkTables:
    """What a benchmark adds to its runs.

    Attributes:
        settings: as benchmark.json has them.
        wins: win_rates.csv, a row per run.
        cross: cross_effects.csv, runs x rewards.
        scores: the long frame of all scores.
        carried: held_out.csv, a row per run; None in folders from before there was one.
        confounders: confounders.csv, a row per run and the untuned model; None if nothing was measured.
    """

    settings: Mapping[str, Any]
    wins: pd.DataFrame
    cross: pd.DataFrame
    scores: pd.DataFrame
    carried: pd.DataFrame | None
    confounders: pd.DataFrame | None


@dataclass(frozen=True)
class Results:
    """A folder of results: a benchmark with its runs, or one run alone."""

    folder: Path
    runs: tuple[TrainedRun, ...]
    benchmark: BenchmarkTables | None

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What the results were made with."""
        found: Mapping[str, Any] = (self.benchmark.settings if self.benchmark else {}).get("provenance", {})
        return found or self.runs[0].provenance


def holds_results(folder: Path) -> bool:
    """Whether a folder is that of a run or a benchmark."""
    return any((folder / name).is_file() for name in (CONFIG, SETTINGS))


def read_results(folder: Path) -> Results:
    """Read a folder.

    Raises:
        ConfigError: it is no such folder, or what it holds is not finished or cannot be read.
    """
    if (folder / SETTINGS).is_file():
        tables = read_benchmark(folder)
        names = tables.wins["run"]
        return Results(folder, tuple(read_run(folder / RewardName.parse(name).slug, name) for name in names), tables)
    if (folder / CONFIG).is_file():
        return Results(folder, (read_run(folder),), None)
    raise ConfigError(
        f"{folder} holds neither {CONFIG} nor {SETTINGS}; name a folder that `dragon train` or `dragon bench` wrote"
    )


def read_run(folder: Path, name: str | None = None) -> TrainedRun:
    """One run, under the name of its reward if no other is given."""
    stored = read_json(folder / CONFIG)
    metrics = read_table(folder / METRICS, "no step is recorded; run `dragon train` first")
    config = stored.get("config", {})
    return TrainedRun(name or config.get("reward", folder.name), folder, config, stored.get("provenance", {}), metrics)


def read_benchmark(folder: Path) -> BenchmarkTables:
    """The tables of a finished benchmark."""
    remedy = "the benchmark is not finished; the same `dragon bench` command resumes it"
    return BenchmarkTables(
        read_json(folder / SETTINGS),
        read_table(folder / WINS, remedy),
        read_table(folder / CROSS, remedy).set_index("run"),
        read_scores(folder / SCORES, remedy),
        *(read_table(folder / name, remedy) if (folder / name).exists() else None for name in (CARRIED, CONFOUNDERS)),
    )


def read_json(path: Path) -> dict[str, Any]:
    """An object of a file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore it, or run the command again") from None
    return found


def read_table(path: Path, remedy: str) -> pd.DataFrame:
    """A CSV file with a row or more."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore it") from None
    if table.empty:
        raise ConfigError(f"{path} holds no row: {remedy}")
    return table


def columns_of(frame: pd.DataFrame) -> list[str]:
    """The names of a table's columns, which in a file are text."""
    return [str(column) for column in frame.columns]


def read_scores(path: Path, remedy: str) -> pd.DataFrame:
    """The long frame."""
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: {remedy}") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); restore it") from None
