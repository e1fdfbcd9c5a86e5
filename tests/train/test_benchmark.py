"""A miniature of the whole benchmark: all twenty rewards, few steps; resumption; the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from dragon_rewards import compose
from dragon_rewards.compute.devices import CPU
from dragon_rewards.evaluation import permutation_test, set_change
from dragon_rewards.media.media import Media
from dragon_rewards.names import RewardName
from dragon_rewards.suites import load_suite
from dragon_train.bench.permutation import read_embeddings
from dragon_train.bench.result_files import SCORES
from dragon_train.cli.app import app
from dragon_train.embedded.prompts import prompts as embedded_prompts

pytestmark = pytest.mark.slow

MINIATURE = """
heldout_prompts = 10
inference_steps = 2
subset_size = 2
rounds = 2
[train]
steps = 1
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
"""


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("preset") / "miniature.toml"
    path.write_text(MINIATURE)
    return path


@pytest.fixture(scope="module")
def results(preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench")
    assert bench(preset, out).exit_code == 0
    return out


def bench(preset: Path, out: Path, *more: str) -> CliRunner.Result:  # type: ignore[name-defined]
    return CliRunner().invoke(app, ["bench", "--preset", str(preset), "--out", str(out), "--json", *more])


def test_every_reward_of_the_suite_is_tuned_and_compared(results: Path) -> None:
    slots = [slot.reward for slot in load_suite("dragon20").slots]
    wins = pd.read_csv(results / "win_rates.csv")
    assert list(wins["run"]) == slots
    assert wins[["before", "after", "win_rate", "lower"]].notna().all(axis=None)
    cross = pd.read_csv(results / "cross_effects.csv", index_col=0)
    assert cross.shape == (20, 20)
    assert cross.notna().all(axis=None)


def test_rewards_of_sets_are_tested_by_exchanging_clips_with_the_untuned_model(results: Path) -> None:
    wins = pd.read_csv(results / "win_rates.csv").set_index("run")
    of_sets = wins["kind"] == "distribution-to-distribution"
    assert (wins["permutation_p"].notna() == of_sets).all()
    folders = [results / name for name in ("baseline", RewardName.parse("vendi:clap").slug)]
    texts = embedded_prompts("exam")[:10]
    clips = Media.concatenate([read_embeddings(folder, texts, CPU) for folder in folders])
    value = compose("vendi:clap").subsets(clips)
    assert wins.loc["vendi:clap", "permutation_p"] == permutation_test(value, 10).p_value
    found = set_change(value, 10)  # vendi is better where it is higher, so that value and metric are the same
    for side in ("before", "after", "change"):
        interval = getattr(found, side)
        assert wins.loc["vendi:clap", f"{side}_low"] == pytest.approx(interval.low)
        assert wins.loc["vendi:clap", f"{side}_high"] == pytest.approx(interval.high)
    fad = wins.loc["dataset-fad:vae@airs"]  # better where it is lower: the metric itself, not the reward
    assert fad["before_low"] <= fad["before"] <= fad["before_high"]
    assert fad["change_low"] <= fad["after"] - fad["before"] <= fad["change_high"]
    wholes = value(torch.arange(20).reshape(2, 10)).tolist()
    assert wholes == pytest.approx([wins.loc["vendi:clap", side] for side in ("before", "after")])


def test_the_long_frame_holds_every_score(results: Path) -> None:
    frame = pd.read_parquet(results / "scores.parquet")
    assert list(frame.columns) == ["run", "model", "prompt_id", "seed", "reward", "value"]
    assert frame["run"].nunique() == 21
    assert not frame.duplicated(["run", "prompt_id", "reward"]).any()
    per_clip = frame[frame["reward"] == "per-song-fad:vae@airs"]
    assert per_clip.groupby("run").size().eq(10).all()
    whole_sets = frame[frame["reward"] == "vendi:clap"]
    assert whole_sets.groupby("run").size().eq(2 * 5 + 1).all()


def test_the_report_names_stand_ins_and_settings(results: Path) -> None:
    page = (results / "README.md").read_text()
    assert "per-song-fad:logmel@tunebook stands in for per-song-fad:vggish@tunebook" in page
    settings = json.loads((results / "benchmark.json").read_text())
    assert settings["provenance"]["packages"]["torch"]
    assert settings["preset"]["heldout_prompts"] == 10


def test_an_interrupted_benchmark_resumes_to_the_same_table(preset: Path, results: Path, tmp_path: Path) -> None:
    """One run lost its scores, another everything: both come back as they were."""
    out = tmp_path / "again"
    shutil.copytree(results, out)
    (out / RewardName.parse("vendi:clap").slug / SCORES).unlink()
    shutil.rmtree(out / RewardName.parse("per-song-fad:vae@airs").slug)
    assert bench(preset, out).exit_code == 0
    assert (out / "win_rates.csv").read_text() == (results / "win_rates.csv").read_text()


def test_a_record_from_before_a_field_of_the_preset_is_continued(preset: Path, results: Path, tmp_path: Path) -> None:
    shutil.copytree(results, tmp_path / "bench")
    record = json.loads((tmp_path / "bench" / "benchmark.json").read_text())
    del record["preset"]["beside"], record["preset"]["weight"]
    (tmp_path / "bench" / "benchmark.json").write_text(json.dumps(record))
    assert bench(preset, tmp_path / "bench").exit_code == 0


def test_a_folder_belongs_to_one_benchmark(preset: Path, results: Path) -> None:
    refused = bench(preset, results, "--seed", "5")
    assert refused.exit_code == 2
    assert "another seed" in refused.stderr


def test_resources_are_for_the_launcher_that_places_runs(preset: Path, tmp_path: Path) -> None:
    refused = bench(preset, tmp_path, "--gpus", "1")
    assert refused.exit_code == 2
    assert "launcher ray does" in " ".join(refused.stderr.split())


def test_only_rewards_of_the_suite_are_tuned(preset: Path, tmp_path: Path) -> None:
    refused = bench(preset, tmp_path, "--rewards", "vendi:clop")
    assert refused.exit_code == 2
    assert "vendi:clap" in refused.stderr
