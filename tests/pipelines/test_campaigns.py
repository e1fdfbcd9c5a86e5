"""A benchmark and an ablation of a saved pipeline, on prompts of a file, by the commands a user takes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from support.cli import dragon
from support.pipelines import folder_of

pytestmark = pytest.mark.slow

PRESET = """
heldout_prompts = 4
inference_steps = 2
subset_size = 2
rounds = 1
guidance = 0
[train]
steps = 1
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
lora_rank = 2
"""
SUITE = """
[two]
summary = "for tests"
slots = ["vendi:logmel", "per-song-fad:logmel@airs"]
"""
GRID = """
question = "Does a loss help?"
preset = "{preset}"
[axes]
objective = ["dpo"]
[settings]
reward = "vendi:logmel"
[[tables]]
name = "win_rate"
rows = ["objective"]
value = "win_rate"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "preset.toml").write_text(PRESET)
    (tmp_path / "suite.toml").write_text(SUITE)
    (tmp_path / "loss.toml").write_text(GRID.format(preset=tmp_path / "preset.toml"))
    (tmp_path / "songs.txt").write_text("\n".join(f"song number {index}" for index in range(7)))
    return tmp_path


def test_the_benchmark_tunes_and_compares_the_named_pipeline(place: Path, saved: Path) -> None:
    folder, out = folder_of("stable-audio", saved), place / "out"
    result = dragon(
        *("bench", "--suite", place / "suite.toml", "--preset", place / "preset.toml", "--out", out, "--workers", "1"),
        *("--pipeline", folder, "--prompts", place / "songs.txt"),
    )
    assert result.exit_code == 0, result.output
    scores = pd.read_parquet(out / "scores.parquet")
    assert scores["model"].unique().tolist() == [str(folder)]
    assert scores[scores["reward"].str.startswith("per-song")].groupby("run").size().eq(4).all()
    assert json.loads((out / "vendi+logmel" / "config.json").read_text())["config"]["pipeline"] == str(folder)
    assert f"# Benchmark of {folder}" in (out / "README.md").read_text()
    other = dragon(
        *("bench", "--suite", place / "suite.toml", "--preset", place / "preset.toml", "--out", out, "--workers", "1"),
    )
    assert other.exit_code == 2
    assert "another" in other.stderr


def test_an_ablation_of_a_pipeline_shares_nothing_with_that_of_another(place: Path, saved: Path) -> None:
    loss, out, folder = place / "loss.toml", place / "out", folder_of("stable-audio", saved)
    own = ("--pipeline", folder, "--prompts", place / "songs.txt", "--out", out)
    assert dragon("ablate", loss, *own, "--workers", "1").exit_code == 0
    (cell,) = json.loads(dragon("ablate", loss, *own, "--dry-run", "--json").stdout)
    assert cell["cached"]
    assert (
        f"dragon ablate loss.toml --pipeline {folder} --prompts {place}/songs.txt\n"
        in (out / "loss/README.md").read_text()
    )
    assert json.loads((out / "loss/ablation.json").read_text())["pipeline"] == str(folder)
    (embedded,) = json.loads(dragon("ablate", loss, "--out", out, "--dry-run", "--json").stdout)
    assert not embedded["cached"]
    assert embedded["folder"] != cell["folder"]


def test_a_study_without_training_and_too_few_prompts_are_refused(place: Path, saved: Path) -> None:
    own = ("--pipeline", folder_of("stable-audio", saved), "--out", place / "out")
    study = dragon("ablate", "batch-bias", *own)
    assert (study.exit_code, study.stdout) == (2, "")
    assert "leave --pipeline and --prompts out" in study.stderr
    (place / "songs.txt").write_text("a song\nanother\na third\na fourth\na fifth")
    few = dragon("ablate", place / "loss.toml", *own, "--prompts", place / "songs.txt")
    assert few.exit_code == 2
    assert "only 1 prompt to train on" in " ".join(few.stderr.split())
