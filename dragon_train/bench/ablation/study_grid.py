"""Ablations without training: each cell of the grid is one measurement of a study, kept on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import TYPE_CHECKING, Any

import pandas as pd

from dragon_rewards.compute.devices import find_device
from dragon_rewards.storage.dataframes import Column, read_parquet
from dragon_rewards.storage.results import write_parquet
from dragon_train.bench.ablation.studies import load_study
from dragon_train.bench.ablation.tuning_grid import fingerprint
from dragon_train.bench.launchers import Task

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dragon_train.bench.ablation.grid import Grid, Point

ROWS = "rows.parquet"
STUDIES = "studies"


@dataclass(frozen=True)
class StudyGrid:
    """The work of a grid whose cells are measurements of a study; see `GridWork`.

    Attributes:
        study: its name.
        cells: the values of the axes and all settings, for each cell.
        root: folder of the results, which all grids share.
        left_out: empty, as every combination of a study's settings can be measured.
        options: empty, as studies measure the embedded pipeline alone.
        settings: empty, for the same reason.
        judges: empty, as a study composes its rewards when it runs.
        unit: in which the work is counted.
    """

    study: str
    cells: tuple[tuple[Point, Point], ...]
    root: Path
    left_out: tuple[tuple[Point, str], ...] = ()
    options: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    judges: tuple[str, ...] = ()
    unit: str = "cells"

    def folder(self, settings: Mapping[str, Any]) -> Path:
        """Return the folder where a cell's rows are kept; settings that are left out count as their defaults."""
        bound = signature(load_study(self.study).run).bind_partial(**settings)
        bound.apply_defaults()
        return self.root / STUDIES / f"{self.study}-{fingerprint(self.study, bound.arguments)}"

    def tasks(self) -> list[Task]:
        """Return a task for each cell that has no rows yet."""
        todo = [settings for _, settings in self.cells if not (self.folder(settings) / ROWS).exists()]
        return [Task(run_study, self.folder(settings), (self.study, settings)) for settings in todo]

    @property
    def total(self) -> int:
        """The number of cells of the grid, measured or not."""
        return len(self.cells)

    def done(self) -> int:
        """Return the number of cells whose rows are there."""
        return sum(row["cached"] for row in self.listing())

    def listing(self) -> list[dict[str, Any]]:
        """Return a row for each cell: its values of the axes, its folder, and whether its rows are there (`cached`)."""
        folders = [self.folder(settings) for _, settings in self.cells]
        return [
            {**axes, "folder": str(folder.relative_to(self.root)), "cached": (folder / ROWS).exists()}
            for (axes, _), folder in zip(self.cells, folders, strict=True)
        ]

    def frame(self, name: str) -> pd.DataFrame:  # noqa: ARG002  a study has one
        """Return the rows of all cells, which are measured by then, with the axes as first columns.

        Raises:
            DragonError: the rows of a cell cannot be read.
        """
        columns = dict.fromkeys(load_study(self.study).columns, Column.ANYTHING)
        frames = [
            read_parquet(
                self.folder(settings) / ROWS, columns, "delete it, and the same command measures again"
            ).assign(**axes)
            for axes, settings in self.cells
        ]
        rows = pd.concat(frames, ignore_index=True)
        axes = list(self.cells[0][0])
        return rows[[*axes, *(name for name in rows.columns if name not in axes)]]


def make_study_grid(grid: Grid, root: Path) -> StudyGrid:
    """Put together the cells of a grid that names a study."""
    return StudyGrid(grid.study, tuple(grid.points()), root)


def run_study(folder: Path, study: str, settings: Mapping[str, Any], device: str | None) -> None:
    """Measure one cell on a device and write its rows to `folder`.

    Args:
        folder: of this cell.
        study: its name.
        settings: keyword arguments of the study.
        device: as `find_device` takes it.
    """
    write_parquet(folder / ROWS, load_study(study).run(find_device(device), **settings))
