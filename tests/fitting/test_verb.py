"""`dragon fit-ratings`: a table of ratings becomes a reward that every other command takes by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import spearmanr
from support.cli import Dragon, Refused, Rows

from dragon_rewards import DragonError, compose, load_registry
from dragon_rewards.encoders.spectral import LogMel
from dragon_rewards.heads import read_record

REWARD = "aesthetics-mine:logmel"


def test_ratings_become_a_reward(rated: Path, sets: Path, rows: Rows) -> None:
    (fitted,) = rows("fit-ratings", rated, "--encoder", "logmel")
    assert fitted["reward"] == REWARD
    assert (fitted["clips"], fitted["held_out_by"], fitted["held_out"]) == (40, "prompt", 8)
    assert fitted["srcc"] > 0.9
    assert 0 < fitted["srcc_low"] < fitted["srcc"] < fitted["srcc_high"]
    assert "lies above zero" in fitted["verdict"]
    scored = pd.DataFrame(rows("score", REWARD, rated.parent))
    given = pd.read_csv(rated).set_index("path")["rating"]
    assert spearmanr(scored["value"], given[scored["path"].map(lambda path: Path(path).name)]).statistic > 0.95
    listed = {row["name"]: row for row in rows("list", "reductions")}["aesthetics-mine"]
    assert (listed["encoders"], listed["direction"]) == (["logmel"], "higher")
    record = json.loads((sets.parent / "heads" / "mine" / "head.json").read_text(encoding="utf-8"))
    assert record["provenance"]["packages"]["torch"]
    assert record["sha256"] in compose(REWARD).origin


def test_a_table_for_people_ends_with_what_it_is_worth(rated: Path, dragon: Dragon) -> None:
    said = " ".join(dragon("fit-ratings", rated, "--encoder", "chroma", "--name", "other").stdout.split())
    assert "PLCC" in said
    assert "40 clips, 8 prompts of which were held out in turn" in said
    assert said.endswith("The reward is aesthetics-other:chroma.")


def test_raters_are_compared_with_the_reward(rated: Path, rows: Rows) -> None:
    table = pd.read_csv(rated)
    noisy = table.assign(rating=(table["rating"] + [0, 2, -2, 1] * 10).clip(1, 5), rater="Bob")
    both = rated.with_name("both.csv")
    pd.concat([table.assign(rater="Ann"), noisy]).to_csv(both, index=False)
    (fitted,) = rows("fit-ratings", both, "--encoder", "logmel")
    assert fitted["raters"] == 2
    assert 0.3 < fitted["rater_srcc"] < 0.95
    assert "one person more" in fitted["verdict"]


def test_a_head_is_replaced_only_where_that_is_said(rated: Path, dragon: Dragon, refused: Refused, sets: Path) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    load_registry.cache_clear()
    before = compose(REWARD).origin
    assert "there is a head 'mine'" in refused("fit-ratings", rated, "--encoder", "logmel")
    fewer = rated.with_name("fewer.csv")
    pd.read_csv(rated).head(30).to_csv(fewer, index=False)
    assert dragon("fit-ratings", fewer, "--encoder", "logmel", "--name", "mine", "--overwrite").exit_code == 0
    load_registry.cache_clear()
    assert compose(REWARD).origin != before
    assert len(list((sets.parent / "heads" / "mine").iterdir())) == 2


def test_other_weights_of_the_encoder_are_refused(rated: Path, dragon: Dragon, monkeypatch: pytest.MonkeyPatch) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    load_registry.cache_clear()
    monkeypatch.setattr(LogMel, "identity", "another")
    with pytest.raises(DragonError, match="head 'mine' was fitted with other weights of encoder 'logmel'"):
        load_registry().build_reduction("aesthetics-mine")


def test_a_broken_head_is_told_and_leaves_the_others(rated: Path, dragon: Dragon, rows: Rows, sets: Path) -> None:
    dragon("fit-ratings", rated, "--encoder", "logmel")
    heads = sets.parent / "heads"
    shutil.copytree(heads / "mine", heads / "copy")
    (heads / "broken").mkdir()
    (heads / "broken" / "head.json").write_text("{}", encoding="utf-8")
    assert "aesthetics-mine" in [row["name"] for row in rows("list", "reductions")]
    said = " ".join(dragon("plugins").stdout.split()) + dragon("plugins").stderr
    assert "head broken" in said
    assert "head copy" in said
    (file,) = (heads / "mine").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-4])
    load_registry.cache_clear()
    with pytest.raises(DragonError, match="fit the head again"):
        load_registry().build_reduction("aesthetics-mine")
    assert read_record(heads / "mine").file == file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--encoder", "nope"), "unknown encoder 'nope'"),
        (("--encoder", "logmel", "--name", "degradation"), "'aesthetics-degradation' is taken by"),
        (("--encoder", "logmel", "--name", "My Taste"), "'My Taste' is no name"),
    ],
)
def test_what_cannot_be_a_reward_is_refused(
    rated: Path, refused: Refused, sets: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in refused("fit-ratings", rated, *arguments)
    assert not (sets.parent / "heads").exists()
