"""A run's folder is its own from its first finished step on: a run that was refused, or failed before, leaves none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.pipelines import build
from support.tiny import CONFIG, PROMPTS, tiny_policy, tiny_run
from typer.testing import CliRunner

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.mixture import compose_mixture
from dragon_rewards.storage.locks import locked
from dragon_train.bench.commands import run_bench
from dragon_train.cli.app import app
from dragon_train.loop.loop import train
from dragon_train.loop.run_folder import CONFIG as CONFIG_FILE
from dragon_train.loop.run_folder import PROMPTS as PROMPTS_FILE
from dragon_train.loop.run_folder import Claim, stored_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")


class Refusing:
    """An objective whose first step fails."""

    def collect(self, rollout: Any) -> Any:
        rollout.generate()
        raise DragonError("nothing is learnt today")


def test_a_run_that_fails_in_its_first_step_leaves_no_folder(tmp_path: Path) -> None:
    out, objective, reward = tmp_path / "runs" / "mine", Refusing(), compose_mixture(CONFIG.reward)
    with pytest.raises(DragonError, match="step 1: nothing is learnt today"):
        train(CONFIG, tiny_policy(), reward, objective, PROMPTS, out, lambda _: None)  # type: ignore[arg-type]
    assert not out.exists()
    other = replace(CONFIG, steps=1, sampling_batch=2)
    tiny_run(other, out)
    assert stored_config(out).sampling_batch == 2
    assert (out / PROMPTS_FILE).is_file()


def test_a_refused_command_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused after the model was loaded, with the folder locked, and its parent made."""
    pipeline = tmp_path / "pipeline"
    build("stable-audio").save_pretrained(pipeline)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    options = ["--reward", "vendi:logmel", "--pipeline", str(pipeline), "--prompts", "../prompts.txt"]
    refused = CliRunner().invoke(app, ["train", *options, "--prompts-per-step", "4", "--lora-targets", "nope"])
    assert refused.exit_code == 2
    assert "lora_targets = ['nope']" in refused.stderr
    assert list((tmp_path / "work").iterdir()) == []


class Full:
    """A launcher that has no place for a run."""

    def run(self, tasks: Any, on_tick: Any) -> None:  # noqa: ARG002
        raise DragonError(f"no machine has room for {len(tasks)} runs")


def test_a_benchmark_that_no_machine_takes_leaves_no_folder(tmp_path: Path) -> None:
    preset, out = tmp_path / "least.toml", tmp_path / "runs" / "bench"
    preset.write_text("heldout_prompts = 4\ninference_steps = 2\nsubset_size = 2\nrounds = 2\n")
    with pytest.raises(DragonError, match="no machine has room for 2 runs"):
        run_bench("dragon20", str(preset), ["vendi:clap"], None, None, out, 0, None, Full)
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_checked_before_a_model_is_loaded(tmp_path: Path) -> None:
    tiny_run(CONFIG, tmp_path)
    unresolved = Claim(CONFIG, PROMPTS, [])
    unresolved.check(tmp_path)  # guidance and sampling_batch, 0 here, are what the pipeline suggested there
    with pytest.raises(ConfigError, match=r"holds a run with steps = 2, which may become more, not 1"):
        Claim(replace(CONFIG, steps=1), PROMPTS, []).check(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run with guidance = .*, not 3\.5"):
        Claim(replace(CONFIG, guidance=3.5), PROMPTS, []).check(tmp_path)
    with pytest.raises(ConfigError, match="holds a run on other prompts"):
        Claim(CONFIG, PROMPTS[1:], []).check(tmp_path)
    assert (tmp_path / CONFIG_FILE).is_file()


@pytest.mark.parametrize("there", [True, False])
def test_a_lock_leaves_what_was_there(tmp_path: Path, *, there: bool) -> None:
    folder = tmp_path / "runs" / "mine"
    if there:
        folder.mkdir(parents=True)
    with pytest.raises(DragonError), locked(folder):
        raise DragonError("refused")
    assert folder.exists() == there
    assert (tmp_path / "runs").exists() == there
    with locked(folder):
        (folder / "result").touch()
    assert (folder / "result").is_file()
