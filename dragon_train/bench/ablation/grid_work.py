"""The work that a grid takes, whether its cells are tuning runs or measurements of a study."""

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
    """The work of a grid: its cells, the tasks that are left to do, and the frames that come of it."""

    @property
    def left_out(self) -> Sequence[tuple[Point, str]]:
        """The combinations of the axes that do not compose, each with the reason."""

    @property
    def options(self) -> str:
        """The options that the command line of the same work needs beside the grid, each after a space."""

    @property
    def settings(self) -> Mapping[str, str]:
        """The pipeline and the digest of the prompts: what a rerun must share beside the grid."""

    @property
    def judges(self) -> Sequence[str]:
        """The names of all rewards that judge a cell, as far as they are known before the work."""

    @property
    def unit(self) -> str:
        """The name of the unit in which the work is counted, in the plural."""

    @property
    def total(self) -> int:
        """The number of units of work in the whole grid, finished or not."""

    def done(self) -> int:
        """Return the number of units of work that are finished."""

    def tasks(self) -> list[Task]:
        """Return the tasks that compute what has no result yet."""

    def listing(self) -> list[dict[str, Any]]:
        """Return a row for each cell: its values of the axes, its folder, and whether it is finished (`cached`)."""

    def frame(self, name: str) -> pd.DataFrame:
        """Return a long frame of all cells, which are finished by then.

        Args:
            name: of the frame, one of `Grid.frames`.
        """


def make_grid_work(grid: Grid, root: Path, pipeline: str | None = None, prompts: Path | None = None) -> GridWork:
    """Put the work of a grid together and check it, before any of it is done.

    Args:
        grid: what is asked.
        root: folder of all ablations, which share their results.
        pipeline: what is tuned, if not what the preset says; of tuning runs alone.
        prompts: file of prompts to tune and compare on, as `choose_workload` takes it; of tuning runs alone.

    Raises:
        ConfigError: a pipeline or prompts are given for a study, which tunes nothing.
        DragonError: a tuning run cannot be put together, as `make_tuning_grid` describes.
    """
    if not grid.study:
        return make_tuning_grid(grid, root, pipeline, prompts)
    if pipeline or prompts:
        raise ConfigError(f"ablation '{grid.name}' tunes nothing: leave --pipeline and --prompts out")
    return make_study_grid(grid, root)
