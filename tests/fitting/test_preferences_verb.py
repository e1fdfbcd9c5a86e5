"""`dragon fit-preferences`: a table of votes becomes a reward that every other command takes by its name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.cli import Dragon, Refused, Rows

REWARD = "aesthetics-votes:logmel"


@pytest.fixture(scope="session")
def compared(rated: Path) -> Path:
    """Votes on 20 pairs of the rated clips: Ann's by what is rated higher, Bob's the same but for every fourth."""
    ratings = pd.read_csv(rated)["rating"]
    found = []
    for pair in range(20):
        first, second = 2 * pair, 2 * pair + 1
        better, worse = ("a", "b") if ratings[first] > ratings[second] else ("b", "a")
        row = {"path_a": f"{first}.wav", "path_b": f"{second}.wav"}
        found.append(row | {"rater": "Ann", "preferred": better})
        found.append(row | {"rater": "Bob", "preferred": worse if pair % 4 == 0 else better})
    pd.DataFrame(found).to_csv(rated.parent / "votes.csv", index=False)
    return rated.parent / "votes.csv"


def test_votes_become_a_reward(compared: Path, rated: Path, rows: Rows) -> None:
    (fitted,) = rows("fit-preferences", compared, "--encoder", "logmel")
    assert fitted["reward"] == REWARD
    counts = {"clips": 40, "preferences": 40, "raters": 2, "held_out_by": "group", "held_out": 20}
    assert {key: fitted[key] for key in counts} == counts
    assert 0.65 < fitted["accuracy"] < 1
    assert fitted["accuracy_low"] <= fitted["accuracy"] <= fitted["accuracy_high"]
    assert fitted["log_loss"] < 0.69
    assert fitted["rater_accuracy"] == pytest.approx(0.75)
    assert "lies above one half" in fitted["verdict"]
    scored = {Path(row["path"]).name: row["value"] for row in rows("score", REWARD, rated.parent)}
    ratings = pd.read_csv(rated).set_index("path")["rating"]
    assert ratings.corr(pd.Series(scored), method="spearman") > 0.8
    listed = {row["name"]: row for row in rows("list", "reductions")}["aesthetics-votes"]
    assert "preferences of yours, of 40 clips (accuracy" in listed["summary"]


def test_a_table_for_people_ends_with_what_it_is_worth(compared: Path, dragon: Dragon) -> None:
    said = " ".join(dragon("fit-preferences", compared, "--encoder", "logmel", "--name", "other").stdout.split())
    assert "log loss" in said
    assert "40 clips, 20 groups of which were held out in turn" in said
    assert said.endswith("The reward is aesthetics-other:logmel.")


def test_a_table_of_ratings_is_refused_as_one_of_votes(rated: Path, refused: Refused) -> None:
    assert "no column path_a or file_a" in refused("fit-preferences", rated, "--encoder", "logmel")
