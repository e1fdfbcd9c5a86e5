"""Write the page of a folder of results, as `dragon report` does."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.files import check_file, write_text
from dragon_rewards.terminal.progress import progress
from dragon_train.bench.record import check_results
from dragon_train.bench.result_files import SEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAGE = "report.html"
NEEDED = ("altair", "vl_convert", "jinja2", "PIL")  # of the extra `reports`


def write_page(
    folder: Path, out: Path | None, count: int, rewards: Sequence[str], prompts: Path | None, device: str | None
) -> Path:
    """Write the page of a folder of `dragon train` or `dragon bench`, and return its path.

    Args:
        folder: of the results.
        out: file to write; None is report.html in the folder.
        count: pairs of clips or images for each run; 0 makes a page without them.
        rewards: names of the runs of a benchmark that get pairs; none means all.
        prompts: file of prompts for the pairs; None takes held-out ones.
        device: where the pairs are made, as `find_device` takes it.

    Raises:
        DragonError: the folder holds no results, a library is not installed, or the pairs cannot be made; before any
            model is loaded.
    """
    if not is_over_seeds(folder):
        check_results(folder)
    path = out or folder / PAGE
    check_file(path, "--out")
    check_libraries()
    if is_over_seeds(folder):
        return write_seeds_page(folder, path)
    from dragon_rewards.compute.devices import find_device  # imports torch
    from dragon_train.bench.report.paired_comparisons import paired_comparisons
    from dragon_train.bench.report.source import read_results

    where, results = find_device(device), read_results(folder)
    comparisons = paired_comparisons(results, count, rewards, prompts, where)
    from dragon_train.bench.report.build import build
    from dragon_train.bench.report.pairs import make_pairs
    from dragon_train.bench.report.render import render

    untuned = {comparison.generation.key for comparison in comparisons}
    with progress("pairs", "sets of clips", len(comparisons) + len(untuned)) as bar:
        pairs = make_pairs(comparisons, where, bar.advance)
    write_text(path, render(build(results, comparisons, pairs)))
    return path


def write_seeds_page(folder: Path, path: Path) -> Path:
    """Write the page of a benchmark over several seeds, and return its path.

    Raises:
        DragonError: one of its tables cannot be read.
    """
    from dragon_train.bench.report.render import render
    from dragon_train.bench.report.seeds import seeds_page

    write_text(path, render(seeds_page(folder, PAGE, path.resolve().parent)))
    return path


def is_over_seeds(folder: Path) -> bool:
    """Tell whether a folder holds a benchmark over several seeds, whose runs lie in folders of its own."""
    return (folder / f"{SEEDS}.csv").is_file()


def check_libraries() -> None:
    """Refuse to go on without the libraries of the extra `reports`.

    Raises:
        DragonError: names what is missing, and how to install it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise DragonError(f'dragon report needs {", ".join(missing)}: pip install "dragon-rewards[reports]"')
