"""Tables of ratings: clips, what people gave them, and what is held out together when a head is measured.

A table has the columns `path` and `rating`, and may have `rater`, `prompt` and `track`; paths are relative to it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dragon_rewards.errors import ConfigError, TableError
from dragon_rewards.media.discovery import listed_names
from dragon_rewards.storage.table_files import PATH, RATER, RATING, TEXT, TRACK, read_table
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dragon_rewards.storage.table_files import Row, Table

FEWEST_CLIPS = 10  # below which nothing can be measured
LARGEST = 1e9  # a rating; a head is kept in float32
ROUNDING = 1e-12  # of the largest rating
FEWEST_UNITS = 5  # prompts or tracks, below which clips are held out one by one


@dataclass(frozen=True)
class Ratings:
    """The ratings of a table.

    Attributes:
        table: the file.
        paths: the rated clips, (clips,).
        raters: the names of the raters; a single blank one where the table names none.
        given: the ratings (clips, raters), NaN where a rater did not rate a clip.
        held_out_by: what is held out as a whole, because its clips are alike: `prompt`, `track` or `clip`.
        units: the number of the prompt, track or clip that each clip belongs to, (clips,).
    """

    table: Path
    paths: tuple[Path, ...]
    raters: tuple[str, ...]
    given: NDArray[np.float64]
    held_out_by: str
    units: NDArray[np.int64]

    @cached_property
    def levelled(self) -> NDArray[np.float64]:
        """The ratings (clips, raters), of which each rater's own mean is taken and the mean of all is added.

        So that a strict and a mild rater count alike. A single rater's ratings stay as they are.
        """
        if len(self.raters) == 1:
            return self.given
        return np.asarray(self.given - np.nanmean(self.given, axis=0) + np.nanmean(self.given))

    @cached_property
    def ratings(self) -> NDArray[np.float64]:
        """The rating of each clip, the mean of its raters' (clips,)."""
        return np.asarray(np.nanmean(self.levelled, axis=1))


def read_ratings(path: Path) -> Ratings:
    """Read and check a table of ratings.

    Raises:
        TableError: the table cannot be read or lacks a column; a rating is no number; a rater rated a clip twice; a
            rater's ratings, or all ratings, are the same; a clip has two prompts.
        ConfigError: fewer than 10 clips are rated, or clips are missing.
    """
    table = read_table(path)
    table.require(PATH, RATING)
    files = table.paths(table.rows)
    cells = _cells(table, files)
    paths = tuple(dict.fromkeys(files))
    if len(paths) < FEWEST_CLIPS:
        raise ConfigError(f"'{path}' has ratings of {counted(len(paths), 'clip')}; rate at least {FEWEST_CLIPS}")
    check_files(path, "rates", paths)
    raters = tuple(dict.fromkeys(rater for _, rater in cells))
    given = np.array([[cells.get((clip, rater), np.nan) for rater in raters] for clip in paths])
    _check_spread(path, raters, given)
    ratings = Ratings(path, paths, raters, given, *_units(table, files, paths))
    _check_levelled(ratings)
    return ratings


def check_files(table: Path, does: str, paths: tuple[Path, ...]) -> None:
    """Refuse a table of which files are missing; `does` says what it does with them.

    Raises:
        ConfigError: there are such.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        files = counted(len(missing), "file")
        raise ConfigError(
            f"'{table}' {does} {files} that {'is' if len(missing) == 1 else 'are'} not there: {listed_names(missing)}; "
            "correct the paths, which are relative to the table, or remove the rows"
        )


def _cells(table: Table, files: list[Path]) -> dict[tuple[Path, str], float]:
    """Return the rating of each clip by each rater."""
    found: dict[tuple[Path, str], tuple[Row, float]] = {}
    for row, file in zip(table.rows, files, strict=True):
        rater = table.text(row, RATER) or ""
        before, _ = found.setdefault((file, rater), (row, _rating(table, row)))
        if before is not row:
            by = f" by '{rater}'" if rater else ""
            raise TableError(
                f"{table.where(row)}: '{table.text(row, PATH)}' is rated{by} in row {before.number}, too; keep one of "
                "them, or name who rated in a column rater"
            )
    return {key: rating for key, (_, rating) in found.items()}


def _rating(table: Table, row: Row) -> float:
    rating = table.number(row, RATING)
    if rating is None:
        raise TableError(f"{table.where(row)}: no rating; rate '{table.text(row, PATH)}', or remove the row")
    if abs(rating) > LARGEST:
        raise TableError(f"{table.where(row)}: rating {rating:g} is beyond {LARGEST:g}; rate on a smaller scale")
    return float(rating)


def _check_spread(path: Path, raters: tuple[str, ...], given: NDArray[np.float64]) -> None:
    """Refuse a rater who rated everything alike: that says nothing of the clips, and blurs what others say."""
    for rater, own in zip(raters, given.T, strict=True):
        values = own[np.isfinite(own)]
        if np.ptp(values) == 0:
            who = f"rater '{rater}'" if rater else "everyone"
            alike = f"{values[0]:g} to each of {len(values)} clips" if len(values) > 1 else "a single rating"
            raise TableError(f"'{path}': {who} gave {alike}, which orders none; rate apart, or leave these rows out")


def _check_levelled(ratings: Ratings) -> None:
    """Refuse raters who contradict each other so exactly that what is left of the means are rounding errors."""
    if len(ratings.raters) > 1 and np.ptp(ratings.ratings) <= ROUNDING * np.nanmax(np.abs(ratings.given)):
        raise TableError(
            f"'{ratings.table}': the raters' means are the same for each of {len(ratings.paths)} clips, which orders "
            "none; fit to the ratings of one of them, or rate more clips"
        )


def _units(table: Table, files: list[Path], paths: tuple[Path, ...]) -> tuple[str, NDArray[np.int64]]:
    """Return what is held out as a whole, and the number of each clip's: prompts, else tracks, if there are enough."""
    for by, column in (("prompt", TEXT), ("track", TRACK)):
        if table.has(column):
            named: dict[Path, dict[str | None, Row]] = defaultdict(dict)
            for row, file in zip(table.rows, files, strict=True):
                named[file][table.text(row, column)] = row
                if len(named[file]) > 1:
                    raise TableError(
                        f"{table.where(row)}: '{table.text(row, PATH)}' has another {by} in another row; keep one"
                    )
            labels = [next(iter(named[clip])) or str(clip) for clip in paths]
            if len(set(labels)) >= FEWEST_UNITS:
                return by, np.unique(labels, return_inverse=True)[1]
    return "clip", np.arange(len(paths))
