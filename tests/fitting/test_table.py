"""Tables of ratings: what they say, and what is refused with the file, the row and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dragon_rewards.errors import ConfigError
from dragon_rewards.fitting.table import Ratings, read_ratings

Rows = list[dict[str, Any]]
ROWS: Rows = [{"path": f"{number}.wav", "rating": number % 5, "prompt": f"tune {number % 6}"} for number in range(12)]


def read(folder: Path, rows: Rows) -> Ratings:
    for row in ROWS:
        (folder / row["path"]).touch()
    (folder / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    return read_ratings(folder / "t.json")


def test_every_format_says_the_same(tmp_path: Path) -> None:
    plain = read(tmp_path, [{"file_name": row["path"], "Rating": row["rating"]} for row in ROWS])
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    lines = ["path;rating", *(f"{row['path']};{row['rating']}" for row in ROWS)]
    (tmp_path / "t.csv").write_text("\r\n".join(lines), encoding="utf-8")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    for name in ("t.parquet", "t.csv", "t.jsonl"):
        found = read_ratings(tmp_path / name)
        assert found.paths == plain.paths
        assert found.ratings.tolist() == plain.ratings.tolist() == [row["rating"] for row in ROWS]


def test_clips_of_a_prompt_are_held_out_together(tmp_path: Path) -> None:
    found = read(tmp_path, ROWS)
    assert (found.held_out_by, found.units.tolist()) == ("prompt", [0, 1, 2, 3, 4, 5] * 2)


def test_pieces_of_a_track_are_held_out_together_where_there_are_few_prompts(tmp_path: Path) -> None:
    rows = [row | {"prompt": "one", "track": f"song {index // 2}"} for index, row in enumerate(ROWS)]
    found = read(tmp_path, rows)
    assert (found.held_out_by, found.units.tolist()) == ("track", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    alone = read(tmp_path, [row | {"track": "one"} for row in rows])
    assert (alone.held_out_by, alone.units.tolist()) == ("clip", list(range(12)))


def test_a_strict_and_a_mild_rater_count_alike(tmp_path: Path) -> None:
    mild = [row | {"rater": "Ann"} for row in ROWS]
    strict = [row | {"rater": "Bob", "rating": row["rating"] - 3} for row in ROWS[:10]]  # two rounds of 0 to 4
    found = read(tmp_path, mild + strict)
    assert found.raters == ("Ann", "Bob")
    assert np.isnan(found.given[10:, 1]).all()
    ann, bob = found.levelled.T
    assert np.allclose((ann - bob)[:10] - (ann - bob)[0], 0)
    assert np.nanmean(ann) == pytest.approx(np.nanmean(bob))
    assert found.ratings == pytest.approx(np.nanmean(found.levelled, axis=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{"path": row["path"]} for row in rows], "no column rating"),
        (lambda rows: [rows[0] | {"rating": "3,5"}, *rows[1:]], "row 1: rating '3,5' is no finite number"),
        (
            lambda rows: [rows[0] | {"rating": "-1e60"}, *rows[1:]],
            "row 1: rating -1e\\+60 is beyond 1e\\+09; rate on a",
        ),
        (lambda rows: [*rows[:2], rows[2] | {"rating": None}, *rows[3:]], "row 3: no rating; rate '2.wav'"),
        (lambda rows: rows[:9], "ratings of 9 clips; rate at least 10"),
        (lambda rows: [*rows, rows[4]], "row 13: '4.wav' is rated in row 5, too; keep one of them, or name who rated"),
        (
            lambda rows: [row | {"rater": "Ann"} for row in (*rows, rows[4])],
            "row 13: '4.wav' is rated by 'Ann' in row 5, too",
        ),
        (
            lambda rows: [*rows[:11], rows[11] | {"path": "gone.wav"}],
            r"rates 1 file that is not there: .*gone\.wav; correct",
        ),
        (lambda rows: [row | {"rating": 3} for row in rows], "everyone gave 3 to each of 12 clips"),
        (
            lambda rows: (
                [row | {"rater": "Ann"} for row in rows] + [row | {"rater": "Bob", "rating": 2} for row in rows[:4]]
            ),
            "rater 'Bob' gave 2 to each of 4 clips, which orders none",
        ),
        (
            lambda rows: [row | {"rater": "Ann"} for row in rows] + [rows[0] | {"rater": "Bob"}],
            "rater 'Bob' gave a single rating, which orders none",
        ),
        (
            lambda rows: [
                row | {"rater": rater, "rating": sign * row["rating"] / 3}
                for rater, sign in (("Ann", 1), ("Bob", -1))
                for row in rows
            ],
            "the raters' means are the same for each of 12 clips",
        ),
        (
            lambda rows: (
                [row | {"rater": "Ann"} for row in rows]
                + [rows[0] | {"rater": "Bob", "prompt": "other"}, rows[1] | {"rater": "Bob"}]
            ),
            "row 13: '0.wav' has another prompt in another row",
        ),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, change: Callable[[Rows], Rows], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, change(ROWS))
