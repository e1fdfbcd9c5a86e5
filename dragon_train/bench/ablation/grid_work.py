"""The work of an ablation: tuning runs, or the cells of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dragon_rewards.errors import ConfigError
from dragon_train.bench.ablation.study_grid import make_study_grid
from dragon_train.bench.ablation.tuning_grid import make_tuning_grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from dragon_train.bench.ablation.grid import Grid, Point
    from dragon_train.bench.launchers import Task


class GridWork(Protocol):
    """The cells of tuning runs or of a study."""

    @property
    def left_out(self) -> Sequence[tuple[Point, str]]:
        """Combinations that do not compose, and why."""

    @property
    def options(self) -> str:
        """What the command line names beside the grid."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What a rerun needs beside the grid."""

    @property
    def judges(self) -> Sequence[str]:
        """Every reward that judges a cell, as far as that is known beforehand."""

    @property
    def unit(self) -> str:
        """What work is counted in."""

    @property
    def total(self) -> int:
        """Units of work."""

    def done(self) -> int:
        """Those that are done."""

    def tasks(self) -> list[Task]:
        """What is to be computed."""

    def listing(self) -> list[dict[str, Any]]:
        """A row for each cell."""

    def frame(self, name: str) -> pd.DataFrame:
        """A long frame of the finished cells."""


def make_grid_work(grid: Grid, root: Path, pipeline: str | None = None, prompts: Path | None = None) -> GridWork:
    """The work of a grid, everything checked; `pipeline` and `prompts` as of `choose_workload`.

    Raises:
        DragonError: something is not as it must be.
    """
    if not grid.study:
        return make_tuning_grid(grid, root, pipeline, prompts)
    if pipeline or prompts:
        raise ConfigError(f"ablation '{grid.name}' tunes nothing: leave --pipeline and --prompts out")
    return make_study_grid(grid, root)
