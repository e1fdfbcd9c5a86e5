"""Votes name clips where they were heard, as long as they lie there, and become a table of preferences."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
from support.listening import listen

from dragon_rewards.evaluation.listening.setup import open_test
from dragon_rewards.evaluation.listening.votes import Choice, Vote
from dragon_rewards.fitting.preferences import read_preferences


def voted(folder: Path, a: Path, b: Path) -> Path:
    """Three raters who choose the left sound."""
    for side in (a, b):
        shutil.copytree(side, folder / side.name)
    test = open_test(folder / "a", folder / "b", folder / "votes.sqlite", 0, 1, 1, lambda _done, _count: None)
    for name in ("Ann", "Bob", "Cem"):
        rater = test.votes.enter(name)
        for place, trial in enumerate(test.plan.trials(rater.seat)):
            test.votes.add(Vote(name, place, trial, Choice.LEFT, 9.0))
    return test.votes.path


def test_votes_are_a_table_of_preferences(tmp_path: Path, a: Path, b: Path) -> None:
    votes = voted(tmp_path, a, b)
    table = tmp_path / "elsewhere" / "votes.csv"
    table.parent.mkdir()
    listen("report", votes, "--csv", table)
    found = read_preferences(table)
    assert {path.parent for path in found.paths} == {tmp_path.resolve() / "a", tmp_path.resolve() / "b"}
    assert found.given.shape == (4, 3)
    assert found.raters == ("Ann", "Bob", "Cem")
    rows = pd.read_csv(table, keep_default_na=False)
    assert set(rows["preferred"][rows["kind"] == "identical"]) == {""}


def test_a_clip_that_is_another_by_now_is_not_taken_for_what_was_heard(tmp_path: Path, a: Path, b: Path) -> None:
    votes = voted(tmp_path, a, b)
    shutil.copy(tmp_path / "b" / "clip-1.wav", tmp_path / "a" / "clip-0.wav")
    shutil.move(tmp_path / "b" / "clip-2.wav", tmp_path / "moved.wav")
    listen("report", votes, "--csv", tmp_path / "votes.csv")
    rows = pd.read_csv(tmp_path / "votes.csv")
    assert "clip-0.wav" in set(rows["path_a"])
    assert "clip-2.wav" in set(rows["path_b"])
    assert str(tmp_path.resolve() / "b" / "clip-0.wav") in set(rows["path_b"])
