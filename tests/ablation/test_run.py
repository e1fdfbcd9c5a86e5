"""A tiny ablation from the command to its page: cells are shared and kept, and the results are the same bytes again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from dragon_train.cli.app import app

pytestmark = pytest.mark.slow

PRESET = """
heldout_prompts = 8
inference_steps = 2
subset_size = 2
rounds = 2
[train]
steps = 1
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
learning_rate = 1e-3
"""
GRID = """
question = "Does a loss help?"
source = "a test"
preset = "{preset}"
score = ["vendi:logmel"]
[axes]
objective = ["dpo", "kto"]
pairing = ["paired", "unpaired"]
seed = [0]
[settings]
reward = "per-song-fad:logmel@airs"
heldout_prompts = 6
[[tables]]
name = "win_rate"
rows = ["objective"]
columns = ["pairing"]
value = "win_rate"
[[figures]]
name = "gain"
kind = "bar"
x = "objective"
y = "gain"
"""
STEPS = """
question = "How many steps?"
preset = "{preset}"
[axes]
inference_steps = [2, 3]
[settings]
reward = "per-song-fad:logmel@airs"
heldout_prompts = 6
[[tables]]
name = "metric"
rows = ["inference_steps"]
value = ["before", "after"]
"""
STUDY = """
question = "How biased?"
study = "batch-bias"
[axes]
seed = [0]
[settings]
encoder = "logmel"
clips = 12
sizes = [8]
draws = 2
diffusion_steps = 2
[[tables]]
name = "bias"
rows = ["estimator"]
columns = ["size"]
value = "bias"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ablations")
    (place / "tiny.toml").write_text(PRESET)
    for name, text in {"losses": GRID, "steps": STEPS, "bias": STUDY}.items():
        (place / f"{name}.toml").write_text(text.replace("{preset}", str(place / "tiny.toml")))
    return place


@pytest.fixture(scope="module")
def losses(place: Path) -> Path:
    assert ablate(place, "losses").exit_code == 0
    return place / "out" / "losses"


def ablate(place: Path, name: str, *more: str) -> Result:
    return CliRunner().invoke(app, ["ablate", str(place / f"{name}.toml"), "--out", str(place / "out"), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def written(place: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (place / "out").glob("models/**/*") if path.is_file()}


def test_every_cell_is_compared_under_its_own_reward_and_the_grids(losses: Path) -> None:
    frame = pd.read_parquet(losses / "frame.parquet")
    assert list(frame["scored"]) == ["per-song-fad:logmel@airs", "vendi:logmel"] * 3
    assert set(zip(frame["objective"], frame["pairing"], strict=True)) == {
        ("dpo", "paired"), ("kto", "paired"), ("kto", "unpaired"),
    }  # fmt: skip
    assert list(frame["trials"]) == [6, 3] * 3
    own = frame[frame["scored"] == frame["reward"]]
    assert (own["gain"] == own["before"] - own["after"]).all()  # lower is better
    assert own["gain"].ne(0).all()


def test_the_page_has_question_tables_figures_and_what_was_left_out(place: Path, losses: Path) -> None:
    page = (losses / "README.md").read_text()
    assert page.startswith("# Does a loss help?")
    assert "![Gain](gain.svg)" in page
    assert "(6 prompts, 2 diffusion steps" in page  # of the grid's settings; its preset has 8
    assert "- dpo, unpaired: objective 'dpo' compares clips of the same prompt" in page
    assert (losses / "win_rate.md").read_text().strip() in page
    made = json.loads((losses / "ablation.json").read_text())
    assert made["provenance"]["packages"]["torch"]
    assert all((place / "out" / cell["folder"] / "metrics.csv").exists() for cell in made["cells"])


def test_again_nothing_is_computed_and_the_bytes_are_the_same(place: Path, losses: Path) -> None:
    before, times = contents(losses), written(place)
    assert ablate(place, "losses").exit_code == 0
    assert contents(losses) == before
    assert written(place) == times


def test_what_was_lost_comes_back_as_it_was(place: Path, losses: Path) -> None:
    before = contents(losses)
    lost = json.loads((losses / "ablation.json").read_text())["cells"][1]["folder"]
    shutil.rmtree(place / "out" / lost)
    listed = ablate(place, "losses", "--dry-run", "--json")
    assert [row["cached"] for row in json.loads(listed.stdout)] == [True, False, True]
    assert ablate(place, "losses").exit_code == 0
    assert contents(losses) == before


def test_findings_of_a_person_stand_at_the_top(place: Path, losses: Path) -> None:
    (losses / "findings.md").write_text("Neither.\n")
    assert ablate(place, "losses").exit_code == 0
    assert (losses / "README.md").read_text().startswith("# Does a loss help?\n\nNeither.\n\n")
    (losses / "findings.md").unlink()


def test_another_ablation_shares_the_models(place: Path, losses: Path) -> None:
    """One of its two cells is the first ablation's, and the other is the same model at three steps."""
    assert losses.exists()
    tuned = set((place / "out" / "models").iterdir())
    listed = json.loads(ablate(place, "steps", "--dry-run", "--json").stdout)
    assert [row["cached"] for row in listed] == [True, False]
    done = ablate(place, "steps", "--json")
    assert set((place / "out" / "models").iterdir()) == tuned
    [first, second] = json.loads(done.stdout)["metric"]
    assert first["after"] != second["after"]


def test_a_study_is_kept_cell_by_cell(place: Path) -> None:
    assert ablate(place, "bias").exit_code == 0
    [rows] = (place / "out" / "studies").glob("batch-bias-*/rows.parquet")
    before = rows.stat().st_mtime_ns
    again = ablate(place, "bias", "--json")
    assert rows.stat().st_mtime_ns == before
    assert [row["estimator"] for row in json.loads(again.stdout)["bias"]] == ["fad", "fad-infinity"]
    assert list(pd.read_parquet(place / "out" / "bias" / "frame.parquet")["size"]) == [8, 8]


def test_without_a_name_the_shipped_ablations_are_listed() -> None:
    rows = json.loads(CliRunner().invoke(app, ["ablate", "--json"]).stdout)
    assert {"loss-pairing", "fad", "selection"} <= {row["name"] for row in rows}
    assert all(row["question"].endswith("?") and row["combinations"] for row in rows)


def test_a_mistake_is_refused_before_anything_is_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('question = "?"\n[axes]\nreward = ["vendi:clop"]\n')
    refused = ablate(tmp_path, "wrong")
    assert refused.exit_code == 2
    assert "clop" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert place.exists()
