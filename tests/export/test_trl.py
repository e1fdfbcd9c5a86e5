"""TRL's own GRPOTrainer trains on exported rewards, one of clips and one of sets, in an environment that has TRL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.environments import Environment
from typer.testing import CliRunner

from dragon_train.cli.app import app
from dragon_train.cli.verbs import export_reward, listing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("trl==1.16.0", "datasets==5.2.0", "dill", "multiprocess", "xxhash")  # 43 MB beside this environment's
REWARDS = {"clap-score:clap": "of_clips.py", "vendi:logmel": "of_sets.py"}
VERBS = (listing, export_reward)  # their imports add them to the app, which takes no lone verb's name


@pytest.fixture(name="environment")
def environment_of_trl(tmp_path: Path) -> Environment:
    made = Environment.create(tmp_path / "environment")
    done = made.run("-m", "pip", "install", "--quiet", "--no-compile", "--no-deps", *PACKAGES)
    assert done.returncode == 0, done.stderr
    return made


def test_two_steps(environment: Environment, tmp_path: Path) -> None:
    for name, file in REWARDS.items():
        written = CliRunner().invoke(app, ["export-reward", name, "--for", "trl", "--out", str(tmp_path / file)])
        assert written.exit_code == 0
    files = [str(tmp_path / file) for file in REWARDS.values()]
    done = environment.run(str(ROOT / "tests" / "support" / "grpo.py"), str(tmp_path / "out"), *files)
    assert done.returncode == 0, done.stderr
    steps = [row for row in json.loads(done.stdout.splitlines()[-1]) if "reward" in row]
    assert len(steps) == 2
    columns = [f"rewards/{name.replace(':', '+')}" for name in REWARDS]
    for row in steps:
        assert all(row[f"{column}/std"] > 0 for column in columns)
        assert row["reward"] == pytest.approx(sum(row[f"{column}/mean"] for column in columns), rel=1e-5)
