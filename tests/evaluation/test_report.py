"""Files appear whole or not at all, and say what made them."""

import json
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from dragon_rewards.plugins import PluginRecord
from dragon_rewards.provenance import provenance
from dragon_rewards.storage.files import replacing, write_text
from dragon_rewards.storage.results import write_parquet, write_table

TABLE = pd.DataFrame({"reward": ["a:b", "c:d@é"], "win_rate": [1 / 3, 1.0], "p_value": [1.5e-9, 0.25]})


def test_tables_as_csv_and_markdown(tmp_path: Path) -> None:
    write_table(tmp_path / "new" / "wins.v1", TABLE)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "wins.v1.csv"), TABLE)
    markdown = (tmp_path / "new" / "wins.v1.md").read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in markdown[2].strip("|").split("|")] == ["a:b", "0.3333", "1.5e-09"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["wins.v1.csv", "wins.v1.md"]


def test_a_named_index_becomes_a_column(tmp_path: Path) -> None:
    write_table(tmp_path / "cross", TABLE.set_index("reward").rename_axis("run"))
    assert pd.read_csv(tmp_path / "cross.csv").columns.tolist() == ["run", "win_rate", "p_value"]


def test_frames_round_trip_as_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "scores.parquet", TABLE)
    write_parquet(tmp_path / "scores.parquet", TABLE)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "scores.parquet"), TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def interrupted_write(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "scores.txt").write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(tmp_path / "scores.txt")
    assert (tmp_path / "scores.txt").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\n"


def test_provenance_is_json_and_names_packages_and_plugins() -> None:
    mine = PluginRecord("mine", "dragon-reward-mine", "1.2")
    made_with = json.loads(json.dumps(provenance([mine])))
    assert made_with["plugins"][-1] == {"name": "mine", "package": "dragon-reward-mine", "version": "1.2"}
    assert made_with["plugins"][0]["package"] == "dragon-rewards"
    assert made_with["packages"]["torch"] == metadata.version("torch")
    assert made_with["threads"] >= 1
