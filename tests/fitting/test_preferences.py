"""Tables of preferences: what they say, and what is refused with the file, the row and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dragon_rewards.errors import ConfigError
from dragon_rewards.fitting.preferences import Preferences, read_preferences

Rows = list[dict[str, Any]]
ROWS: Rows = [
    {"path_a": f"a{number}.wav", "path_b": f"b{number}.wav", "preferred": "ab"[number % 2], "prompt": f"tune {number}"}
    for number in range(12)
]


def read(folder: Path, rows: Rows) -> Preferences:
    for row in ROWS:
        for side in ("path_a", "path_b"):
            (folder / row[side]).touch()
    (folder / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    return read_preferences(folder / "t.json")


def test_votes_on_a_pair_stand_together_whatever_its_sides(tmp_path: Path) -> None:
    ann = [row | {"rater": "Ann"} for row in ROWS]
    swapped = {"rater": "Bob", "path_a": "b0.wav", "path_b": "a0.wav", "preferred": "B"}
    tied = ROWS[1] | {"rater": "Bob", "preferred": "tie"}
    found = read(tmp_path, [*ann, swapped, tied])
    assert found.raters == ("Ann", "Bob")
    assert found.pairs.tolist() == [[2 * number, 2 * number + 1] for number in range(12)]
    assert found.given[:, 0].tolist() == [1 - number % 2 for number in range(12)]
    assert found.given[:2, 1].tolist() == [1, 0.5]
    assert np.isnan(found.given[2:, 1]).all()


def test_what_is_alike_is_held_out_together(tmp_path: Path) -> None:
    two = [row | {"prompt": f"tune {index // 2}"} for index, row in enumerate(ROWS)]
    found = read(tmp_path, two)
    assert found.held_out_by == "prompt"
    assert len(set(found.units[:4].tolist())) == 1
    assert len(set(found.units.tolist())) == 6
    plain: Rows = [{key: row[key] for key in ("path_a", "path_b", "preferred")} for row in ROWS]
    alone = read(tmp_path, plain)
    assert (alone.held_out_by, len(set(alone.units.tolist()))) == ("group", 12)
    assert (alone.units[::2] == alone.units[1::2]).all()
    linked = read(tmp_path, [*plain, {"path_a": "a0.wav", "path_b": "b1.wav", "preferred": "a"}])
    assert (linked.held_out_by, len(set(linked.units.tolist()))) == ("group", 11)
    names = [row["path_a"] for row in ROWS[:6]]
    every = [{"file_a": a, "file_b": b, "preferred": "a"} for a, b in combinations(names, 2)]
    found = read(tmp_path, every)
    assert (found.held_out_by, found.units.tolist()) == ("clip", list(range(6)))


def test_hidden_controls_of_a_listening_test_do_not_count(tmp_path: Path) -> None:
    controls = [
        ROWS[0] | {"kind": "repeat", "preferred": "b"},
        ROWS[1] | {"kind": "identical", "preferred": ""},
    ]
    found = read(tmp_path, [*(row | {"kind": "pair"} for row in ROWS), *controls])
    assert found.given[:, 0].tolist() == [1 - number % 2 for number in range(12)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{"path_a": row["path_a"], "preferred": "a"} for row in rows], "no column path_b or file_b"),
        (lambda rows: [rows[0] | {"preferred": "left"}, *rows[1:]], "row 1: preferred is left; write a, b or tie"),
        (lambda rows: [*rows[:2], rows[2] | {"preferred": None}, *rows[3:]], "row 3: preferred is empty; write a"),
        (lambda rows: rows[:1], "has 1 vote for one of two clips, without ties; collect at least 10"),
        (lambda rows: [*rows[:9], *(row | {"preferred": "tie"} for row in rows[9:])], "has 9 votes for one of two"),
        (
            lambda rows: [*rows, {"path_a": "b4.wav", "path_b": "a4.wav", "preferred": "a"}],
            "row 13: this pair is compared in row 5, too; keep one of them, or name who voted",
        ),
        (
            lambda rows: [row | {"rater": "Ann"} for row in (*rows, rows[4])],
            "row 13: this pair is compared by 'Ann' in row 5, too",
        ),
        (lambda rows: [*rows[:11], rows[11] | {"path_b": "a11.wav"}], "row 12: 'a11.wav' is compared with itself"),
        (
            lambda rows: [*rows[:11], rows[11] | {"path_b": "gone.wav"}],
            r"compares 1 file that is not there: .*gone\.wav",
        ),
        (
            lambda rows: [*rows, {"path_a": "a0.wav", "path_b": "b1.wav", "preferred": "a", "prompt": "tune 1"}],
            "row 13: 'a0.wav' has another prompt in another row",
        ),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, change: Callable[[Rows], Rows], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, change(ROWS))
