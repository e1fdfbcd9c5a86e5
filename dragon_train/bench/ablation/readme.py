"""Write the page of an ablation: question, answer, tables, figures, and how it was made."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dragon_rewards.provenance import provenance
from dragon_rewards.storage.files import write_text
from dragon_train.bench.ablation.findings import findings
from dragon_train.bench.ablation.grid import shipped_grids
from dragon_train.bench.ablation.tables import SEED, markdown
from dragon_train.bench.presets import load_preset
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from dragon_train.bench.ablation.grid import Figure, Grid, Point, Table
    from dragon_train.bench.ablation.grid_work import GridWork


def write_page(folder: Path, grid: Grid, work: GridWork, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write README.md, the page of an ablation, and ablation.json, its settings, cells and provenance.

    Args:
        folder: where the tables and figures of the ablation are.
        grid: what was asked.
        work: what was computed for it.
        tables: each table of the grid as text, by name.
    """
    settings = settings_of(grid, work)
    parts = [
        f"# {grid.question}",
        findings(folder),
        f"Source of the question: {grid.source}." if grid.source else "",
        method(grid, work),
        *(f"## {heading(table)}\n\n{markdown(tables[table.name])}" for table in grid.tables),
        *(f"## {heading(figure)}\n\n![{heading(figure)}]({figure.name}.svg)" for figure in grid.figures),
        left_out(work),
        f"## Settings\n\n```json\n{json.dumps(settings, indent=2)}\n```\n",
    ]
    write_text(folder / "README.md", "\n\n".join(filter(None, parts)))
    cells = [{key: value for key, value in cell.items() if key != "cached"} for cell in work.listing()]
    made = {**settings, "cells": cells, "provenance": provenance(load_train_registry().plugins)}
    write_text(folder / "ablation.json", json.dumps(made, indent=2) + "\n")


def heading(shown: Table | Figure) -> str:
    """Return the heading of a table or a figure: its caption, or else its name in words."""
    return shown.caption or shown.name.replace("_", " ").replace("-", " ").capitalize()


def method(grid: Grid, work: GridWork) -> str:
    """Describe in Markdown how the numbers came about, and the command that makes them again."""
    name = grid.name if grid.name in shipped_grids() else f"{grid.name}.toml"
    command = f"```sh\ndragon ablate {name}{work.options}\n```"
    cells = f"{len(work.listing())} cells. Means are over all axes that a table or figure does not name; ± is the "
    spread = "standard deviation of one seed."
    if grid.study:
        return f"{cells}{spread}\n\n{command}"
    compared = {**asdict(load_preset(grid.preset)), **grid.settings}
    kept = "to watch" if grid.role == "watch" else "of the exam"
    return (
        f"{cells}{spread} Each cell is a tuning run, compared with the untuned model by clips of the same prompts "
        f"{kept} and the same seeds ({compared['heldout_prompts']} prompts, {compared['inference_steps']} diffusion "
        f"steps, unless an axis says otherwise); rewards of sets judge matched subsets of {compared['subset_size']}. "
        f"`before` and `after` are raw metrics, a win rate of 0.5 shows nothing.\n\n{command}"
    )


def left_out(work: GridWork) -> str:
    """List in Markdown the combinations that do not compose, with the reasons; empty if there are none."""
    lines = [f"- {', '.join(map(str, axes.values()))}: {reason}" for axes, reason in unique(work.left_out)]
    return "## Left out\n\n" + "\n".join(lines) if lines else ""


def unique(left_out: Sequence[tuple[Point, str]]) -> list[tuple[Point, str]]:
    """Drop the seed from combinations that do not compose, and return each that remains once, with its reason."""
    without = [({key: value for key, value in axes.items() if key != SEED}, reason) for axes, reason in left_out]
    return [pair for place, pair in enumerate(without) if pair not in without[:place]]


def settings_of(grid: Grid, work: GridWork) -> dict[str, Any]:
    """Return the settings that a rerun needs, as they are printed on the page."""
    shown = {"axes": grid.axes, "settings": grid.settings, "when": grid.when}
    if grid.study:
        return {"study": grid.study, **shown}
    return {"preset": asdict(load_preset(grid.preset)), "score": grid.score, **shown, **work.settings}
