"""Tables of preferences: pairs of clips, which of both people prefer, and what is held out together.

A table has the columns `path_a`, `path_b` and `preferred` (`a`, `b` or `tie`), and may have `rater` and `prompt`; paths
are relative to it. `dragon listen report --csv` writes such tables, whose further column `kind` tells pairs from hidden
controls, which are left out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dragon_rewards.errors import ConfigError, TableError
from dragon_rewards.fitting.table import FEWEST_UNITS, check_files
from dragon_rewards.storage.table_files import KIND, PATH_A, PATH_B, PREFERRED, RATER, TEXT, read_table
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dragon_rewards.storage.table_files import Row, Table

    Vote = tuple[Path, Path, str]  # the clips of a pair, in the order in which it was first named, and the rater

FEWEST_VOTES = 10  # below which nothing can be measured
WINS = {"a": 1.0, "tie": 0.5, "b": 0.0}  # how much of a vote is A's
COLUMNS = frozenset(name for column in (PATH_A, PATH_B, PREFERRED, KIND) for name in column.names)
COUNTED = "pair"  # the kind of the votes that count


@dataclass(frozen=True)
class Preferences:
    """The preferences of a table.

    Attributes:
        table: the file.
        paths: the compared clips, (clips,).
        pairs: the numbers of the first and the second clip of each pair, (pairs, 2).
        raters: the names of the raters; a single blank one where the table names none.
        given: who won, (pairs, raters): 1 the first clip, 0 the second, 0.5 a tie, NaN where a rater did not vote.
        held_out_by: what is held out as a whole: `prompt`, `group` of clips that were compared with each other, be it
            through others, or `clip`.
        units: the number of the prompt, group or clip that each clip belongs to, (clips,).
    """

    table: Path
    paths: tuple[Path, ...]
    pairs: NDArray[np.int64]
    raters: tuple[str, ...]
    given: NDArray[np.float64]
    held_out_by: str
    units: NDArray[np.int64]


def read_preferences(path: Path) -> Preferences:
    """Read and check a table of preferences.

    Raises:
        TableError: the table cannot be read or lacks a column; a preference is none; a clip is compared with itself; a
            rater voted on a pair twice; a clip has two prompts.
        ConfigError: fewer than 10 votes prefer a clip, or clips are missing.
    """
    table = read_table(path, COLUMNS)
    table.require(PATH_A, PATH_B, PREFERRED)
    rows = [row for row in table.rows if (table.text(row, KIND) or COUNTED) == COUNTED]
    sides = list(zip(table.paths(rows, PATH_A), table.paths(rows, PATH_B), strict=True))
    votes = _votes(table, rows, sides)
    decided = sum(won != WINS["tie"] for won in votes.values())
    if decided < FEWEST_VOTES:
        raise ConfigError(
            f"'{path}' has {counted(decided, 'vote')} for one of two clips, without ties; collect at least "
            f"{FEWEST_VOTES}"
        )
    paths = tuple(dict.fromkeys(file for both in sides for file in both))
    check_files(path, "compares", paths)
    pairs = tuple(dict.fromkeys((first, second) for first, second, _ in votes))
    raters = tuple(dict.fromkeys(rater for _, _, rater in votes))
    given = np.array([[votes.get((*pair, rater), np.nan) for rater in raters] for pair in pairs])
    places = {file: place for place, file in enumerate(paths)}
    numbers = np.array([[places[file] for file in pair] for pair in pairs])
    prompts = _prompts(table, rows, sides)
    return Preferences(path, paths, numbers, raters, given, *_units(numbers, [prompts.get(file) for file in paths]))


def _votes(table: Table, rows: list[Row], sides: list[tuple[Path, Path]]) -> dict[Vote, float]:
    """Return how much of each vote the first clip of its pair won."""
    found: dict[Vote, tuple[Row, float]] = {}
    order: dict[frozenset[Path], tuple[Path, Path]] = {}
    for row, both in zip(rows, sides, strict=True):
        if both[0] == both[1]:
            raise TableError(f"{table.where(row)}: '{both[0].name}' is compared with itself; remove the row")
        won, first, rater = _win(table, row), order.setdefault(frozenset(both), both), table.text(row, RATER) or ""
        before, _ = found.setdefault((*first, rater), (row, won if first == both else 1 - won))
        if before is not row:
            by = f" by '{rater}'" if rater else ""
            raise TableError(
                f"{table.where(row)}: this pair is compared{by} in row {before.number}, too; keep one of them, or name "
                "who voted in a column rater"
            )
    return {vote: won for vote, (_, won) in found.items()}


def _win(table: Table, row: Row) -> float:
    said = table.text(row, PREFERRED)
    if said is None or said.lower() not in WINS:
        raise TableError(f"{table.where(row)}: preferred is {said or 'empty'}; write a, b or tie, or remove the row")
    return WINS[said.lower()]


def _prompts(table: Table, rows: list[Row], sides: list[tuple[Path, Path]]) -> dict[Path, str]:
    """Return the prompts of clips that have one."""
    named: dict[Path, set[str]] = defaultdict(set)
    for row, both in zip(rows, sides, strict=True):
        prompt = table.text(row, TEXT)
        for file in both if prompt else ():
            named[file].add(str(prompt))
            if len(named[file]) > 1:
                raise TableError(f"{table.where(row)}: '{file.name}' has another prompt in another row; keep one")
    return {file: prompt for file, (prompt,) in named.items()}


def _units(pairs: NDArray[np.int64], prompts: list[str | None]) -> tuple[str, NDArray[np.int64]]:
    """Return what is held out as a whole, and the number of each clip's: prompts, else groups, if there are enough."""
    count = len(prompts)
    if all(prompts) and len(set(prompts)) >= FEWEST_UNITS:
        return "prompt", np.unique(np.array(prompts), return_inverse=True)[1]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    groups, found = connected_components(graph, directed=False)
    return ("group", found.astype(np.int64)) if groups >= FEWEST_UNITS else ("clip", np.arange(count))
