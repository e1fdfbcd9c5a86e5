"""Run an ablation: finish its cells, then write its frames, tables, figures and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.storage.results import write_parquet
from dragon_train.bench.ablation.figures import write_figure
from dragon_train.bench.ablation.readme import write_page
from dragon_train.bench.ablation.tables import write_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from dragon_train.bench.ablation.grid import Grid
    from dragon_train.bench.ablation.grid_work import GridWork
    from dragon_train.bench.launchers import Launcher


def run_ablation(
    grid: Grid, work: GridWork, launcher: Launcher, root: Path, on_progress: Callable[[int], None]
) -> dict[str, pd.DataFrame]:
    """Compute the cells that have no result yet, then write frames, tables, figures and a page to `root/<name>/`.

    Args:
        grid: what is asked.
        work: what is computed for it.
        launcher: what starts the tasks.
        root: folder of all ablations, which share their results.
        on_progress: is told the number of finished units of work, about once a second.

    Returns:
        The tables as text, by name.
    """
    launcher.run(work.tasks(), lambda: on_progress(work.done()))
    folder = root / grid.name
    frames = {name: work.frame(name) for name in sorted(grid.frames)}
    for name, frame in frames.items():
        write_parquet(folder / f"{name}.parquet", frame)
    texts = {table.name: write_tables(folder, frames[table.frame], table) for table in grid.tables}
    for figure in grid.figures:
        write_figure(folder / f"{figure.name}.svg", frames[figure.frame], figure)
    write_page(folder, grid, work, texts)
    return texts
