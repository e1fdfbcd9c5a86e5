"""`dragon report`: from a folder of results to its page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dragon_rewards.files import write_text
from dragon_train.console import progress
from dragon_train.page.build import build
from dragon_train.page.pairs import make_pairs, plan_pairs
from dragon_train.page.render import render
from dragon_train.page.source import read_results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAGE = "report.html"


def write_page(folder: Path, out: Path | None, count: int, rewards: Sequence[str], prompts: Path | None) -> Path:
    """Write the page of a folder of `dragon train` or `dragon bench`; returns its path.

    Raises:
        DragonError: the folder holds no results, or the pairs cannot be made; before any model is loaded.
    """
    results = read_results(folder)
    plans = plan_pairs(results, count, rewards, prompts)
    with progress() as bar:
        total = len(plans) + len({plan.generation for plan in plans})
        task = bar.add_task("pairs", total=total, note="sets of clips", visible=bool(plans))
        pairs = make_pairs(plans, partial(bar.advance, task))
    path = out or folder / PAGE
    write_text(path, render(build(results, plans, pairs)))
    return path
