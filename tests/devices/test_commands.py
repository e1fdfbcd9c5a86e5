"""Commands that generate, tune and compare on the second device, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from dragon_train.cli.app import app
from dragon_train.loop.run_folder import CONFIG

PROMPTS = ("a jig on fiddle", "a slow hymn played on organ")
PRESET = """
heldout_prompts = 4
inference_steps = 2
subset_size = 2
rounds = 2
[train]
steps = 1
prompts_per_step = 2
epochs = 1
demonstration_steps = 2
"""


def dragon(*arguments: object) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, (result.stderr, result.exception)
    return json.loads(result.stdout) if "--json" in arguments else result.stdout


def sampled(folder: Path, *more: object) -> list[torch.Tensor]:
    from dragon_rewards.media.audio import read_audio

    made = dragon("sample", *PROMPTS, "--diffusion-steps", 2, "--guidance", 2, "--out", folder, "--json", *more)
    return [read_audio(Path(row["path"]))[0] for row in made]


def test_training_and_what_it_makes(tmp_path: Path, second: torch.device) -> None:
    settings = ("--steps", 1, "--prompts-per-step", 2, "--demonstration-steps", 2, "--learning-rate", 0.01)
    clips = {}
    for device in ("cpu", str(second)):
        run = tmp_path / device
        dragon("train", "--reward", "dataset-fad:clap@airs", "--out", run, *settings, "--device", device)
        clips[device] = sampled(tmp_path / f"clips of {device}", "--run", run, "--device", device)
        assert device in (run / CONFIG).read_text()
    for mine, theirs in zip(*clips.values(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=0)


def test_the_best_of_several(tmp_path: Path, second: torch.device) -> None:
    settings = ("--reward", "clap-score:clap", "--diffusion-steps", 2, "--json")
    wanted, found = (
        dragon("best-of", 2, *PROMPTS, *settings, "--out", tmp_path / device, "--device", device)["clips"]
        for device in ("cpu", str(second))
    )
    assert [row["seed"] for row in found] == [row["seed"] for row in wanted]
    assert [row["value"] for row in found] == pytest.approx([row["value"] for row in wanted], rel=1e-3)


def test_a_benchmark_in_miniature(tmp_path: Path, second_everywhere: torch.device) -> None:
    preset = tmp_path / "miniature.toml"
    preset.write_text(PRESET)
    tables = {}
    for device in ("cpu", str(second_everywhere)):
        rewards = ("--rewards", "vendi:clap", "--rewards", "per-song-fad:clap@airs")
        dragon("bench", "--preset", preset, *rewards, "--workers", 1, "--out", tmp_path / device, "--device", device)
        tables[device] = pd.read_parquet(tmp_path / device / "scores.parquet")
        assert device in next((tmp_path / device).rglob(CONFIG)).read_text()
    columns = tables["cpu"].select_dtypes("number").columns
    for column in columns:
        assert tables[str(second_everywhere)][column].tolist() == pytest.approx(
            tables["cpu"][column].tolist(), rel=2e-2, nan_ok=True
        )
