"""Kept scores, and what makes them void."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from dragon_rewards import Reward, compose
from dragon_rewards.evaluation.score_tables import COLUMNS
from dragon_train.bench.evaluate import Evaluation, Scoring, read_scores, write_scores

REWARDS = ("vendi:clap", "vendi:vae")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    rows = [("r", "m", "all", 0, name, float(value)) for value, name in enumerate(REWARDS)]
    write_scores(tmp_path, pd.DataFrame(rows, columns=COLUMNS))
    return tmp_path


def test_kept_scores_come_back(kept: Path) -> None:
    assert read_scores(kept)["value"].tolist() == [0.0, 1.0]
    assert list(read_scores(kept).columns) == COLUMNS
    assert read_scores(kept, ["vendi:vae"])["value"].tolist() == [1.0]
    assert read_scores(kept / "none").empty


def test_scores_of_a_reward_that_has_changed_are_missing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: compose(name).origin for name in REWARDS}
    after = {**before, "vendi:vae": "a package that was updated"}
    monkeypatch.setattr(Reward, "origin", property(lambda reward: after[reward.name]))
    assert read_scores(kept)["reward"].tolist() == ["vendi:clap"]
    assert Scoring(Evaluation(2, 2, 2, 1, 0), REWARDS).missing(kept) == ("vendi:vae",)


def test_scores_of_a_reward_that_is_gone_do_not_count(kept: Path) -> None:
    frame = read_scores(kept)
    write_scores(kept, pd.concat([frame, frame.assign(reward="vendi:gone")]))
    assert set(read_scores(kept)["reward"]) == set(REWARDS)


def test_the_origin_names_plugins_versions_and_the_set() -> None:
    assert compose("vendi:clap").origin.count("dragon-rewards 0.1.0") == 2
    airs, tunebook = (compose(f"dataset-fad:clap@{name}").origin for name in ("airs", "tunebook"))
    assert airs.startswith(compose("vendi:clap").origin)
    assert airs != tunebook
