"""`dragon sample`: what it writes, with a run's adapters too, and what it refuses before a model is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from support.pipelines import build
from support.tiny import CONFIG, tiny_policy, tiny_run
from typer.testing import CliRunner

from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import ConfigError
from dragon_rewards.media.audio import read_audio
from dragon_train.cli.app import app
from dragon_train.cli.generating import given_prompts
from dragon_train.descriptors import IN_FULL, Loading, PipelineInfo
from dragon_train.sampling.clip_folder import ClipFolder
from dragon_train.sampling.sampling import sample_to_folder

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.protocols import Policy

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
PROMPTS = ["A slow hymn, on the organ!", "a jig"]
SETTINGS: dict[str, Any] = {"steps": 2, "guidance": 1.0, "seed": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished LoRA run."""
    folder = tmp_path_factory.mktemp("run")
    tiny_run(CONFIG, folder)
    return folder


def test_a_lora_run_is_heard(run: Path, tmp_path: Path) -> None:
    """By the command, of a pipeline in a folder; the sound is that of the policy that was tuned."""
    pipeline = tmp_path / "pipeline"
    build("stable-audio").save_pretrained(pipeline)
    options = ["--pipeline", str(pipeline), "--diffusion-steps", "2", "--guidance", "1", "--seed", "7", "--json"]
    heard = {}
    for name, more in {"untuned": [], "tuned": ["--run", str(run)]}.items():
        done = CliRunner().invoke(app, ["sample", *PROMPTS, "--out", str(tmp_path / name), *options, *more])
        assert done.exit_code == 0, done.output
        rows = json.loads(done.stdout)
        assert [row["path"] for row in rows] == [
            str(tmp_path / name / "0007-a-slow-hymn-on-the-organ.wav"),
            str(tmp_path / name / "0008-a-jig.wav"),
        ]
        table = pd.read_csv(tmp_path / name / "prompts.csv")
        assert table.to_dict("list") == {
            "path": ["0007-a-slow-hymn-on-the-organ.wav", "0008-a-jig.wav"],
            "prompt": PROMPTS,
            "seed": [7, 8],
        }
        heard[name] = read_audio(tmp_path / name / "0008-a-jig.wav")[0]
    assert not torch.equal(heard["tuned"], heard["untuned"])
    policy = tiny_policy()
    tiny_run(CONFIG, run, policy)
    policy.write(policy.sample(PROMPTS, [7, 8], 2, 1.0)[1], tmp_path / "own")
    assert torch.allclose(heard["tuned"], read_audio(tmp_path / "own.wav")[0], atol=1e-3)  # 16 bits


def unloaded(loading: Loading = IN_FULL) -> Policy:
    pytest.fail(f"the model was loaded: {loading}")


def test_what_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    info = PipelineInfo("tiny", "", "", unloaded)
    with pytest.raises(ConfigError, match="a prompt is empty"):
        given_prompts(["a jig", " "], None)
    with pytest.raises(ConfigError, match="not both"):
        given_prompts(["a jig"], tmp_path / "prompts.txt")
    with pytest.raises(ConfigError, match="no finished run"):
        sample_to_folder(info, tmp_path, PROMPTS, ClipFolder(tmp_path / "out"), CPU, **SETTINGS)
    assert not (tmp_path / "out").exists()


def other(loading: Loading = IN_FULL) -> Policy:
    assert loading.dtype is None
    return tiny_policy("audioldm2")


def test_a_run_of_another_pipeline_is_refused(run: Path, tmp_path: Path) -> None:
    info = PipelineInfo("tiny", "", "", other)
    with pytest.raises(ConfigError, match="tuned on another pipeline"):
        sample_to_folder(info, run, PROMPTS, ClipFolder(tmp_path / "out"), CPU, **SETTINGS)
    assert not (tmp_path / "out").exists()
