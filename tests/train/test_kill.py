"""A kill -9 of `dragon train` at any moment loses at most the step in progress."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from dragon_train.benchmark import steps_done
from dragon_train.run import WEIGHTS

CONFIG = """
reward = "clap-score:clap"
steps = 4
prompts_per_step = 4
epochs = 1
demonstration_steps = 2
"""


def dragon(config: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dragon_train.cli", "train", str(config), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG)
    whole = dragon(config, tmp_path / "whole")
    victim = dragon(config, tmp_path / "killed")
    deadline = time.monotonic() + 120
    while steps_done(tmp_path / "killed") < 1 and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert steps_done(tmp_path / "killed") >= 1
    for run in (whole, dragon(config, tmp_path / "killed")):
        _, errors = run.communicate()
        assert run.returncode == 0, errors.decode()
    left, right = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "killed"))
    assert all(torch.equal(left[key], right[key]) for key in left)
