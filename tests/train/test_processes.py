"""Two processes that share a run give what one gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.commands import is_group, wait_until
from support.results import result

from dragon_rewards.storage.locks import locked
from dragon_train.loop.run import load_checkpoint

pytestmark = pytest.mark.slow

CONFIG = """
reward = "{reward}"
objective = "{objective}"
steps = 2
prompts_per_step = 4
sampling_batch = 2
demonstration_steps = 3
learning_rate = 1e-3
heldout_prompts = 4
diagnostics = true
heldout = ["clap-score:clap"]
{further}
"""
CHOSEN = 'options = { group = 3, advantage = "std", best_of = 2 }'
PILOT = "options = { samples = 4, pilot = 2, gradient_norms = true }"
# On CPUs `accelerate launch --num_processes=2` starts one process, unless machines are listed.
LAUNCH = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
COUNT = """
import sys
from dragon_train.loop.processes import Processes
own = Processes("no")
sys.stdout.write(f"{own.size} {own.gather(own.share('abc'))} {own.device} {own.leads}\\n")
"""


def finished(command: list[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    started = [sys.executable, "-m", *command]
    done = subprocess.run(started, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_know_of_each_other(tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    said = finished([*LAUNCH, str(tmp_path / "count.py")]).splitlines()
    assert sorted(said) == ["2 ['a', 'bc'] cpu False", "2 ['a', 'bc'] cpu True"]


@pytest.mark.parametrize(
    ("reward", "objective", "further"),
    [
        ("dataset-fad:clap@airs", "dpo", "pool = 1"),
        ("per-song-fad:clap@airs", "kto", "pool = 1"),
        ("per-song-fad:clap@airs + clap-score:clap", "kto", 'minibatch = 1\noptions = {rule = "front"}'),
        ("vendi:clap", "nft", "pool = 1"),
        ("per-song-fad:clap@airs", "nft", CHOSEN),
        ("vendi:clap", "order", "pool = 1"),
        ("per-song-fad:clap@airs", "raft", PILOT),
        ("per-song-fad:clap@airs", "grpo", ""),
    ],
)
def test_two_processes_give_the_same_parameters_as_one(
    tmp_path: Path, reward: str, objective: str, further: str
) -> None:
    """Tolerance 1e-3 of the norm: gradients are summed in another order, and AdamW divides small ones by their size.

    Batches of sampling are cut alike, so that every clip is computed in the same company. A minibatch is learnt whole:
    the reference point of kto is the mean over all that is in memory.
    """
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(reward=reward, objective=objective, further=further))
    finished(["dragon_train", str(config), "--out", str(tmp_path / "one")])
    finished([*LAUNCH, "-m", "dragon_train", str(config), "--out", str(tmp_path / "two")])
    one, two = (torch.cat([v.flatten() for v in result(tmp_path / name).values()]) for name in ("one", "two"))
    assert float((one - two).norm() / one.norm()) < 1e-3
    left, right = (pd.read_csv(tmp_path / name / "metrics.csv").filter(regex="^(?!.*_s$)") for name in ("one", "two"))
    pd.testing.assert_frame_equal(left, right, rtol=1e-3, atol=1e-5)


def test_processes_with_unlike_numbers_of_microbatches_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Five pairs are three for one process and two for the other, and each microbatch of kto asks both for a mean."""
    config = tmp_path / "run.toml"
    settings = CONFIG.format(reward="per-song-fad:clap@airs", objective="kto", further="keep = 1.0\nmicrobatch = 1")
    config.write_text(settings.replace("prompts_per_step = 4", "prompts_per_step = 5"))
    finished([*LAUNCH, "-m", "dragon_train", str(config), "--out", str(tmp_path / "two")])
    assert len(pd.read_csv(tmp_path / "two" / "metrics.csv")) == 2


def test_ctrl_c_ends_both_processes_at_once_and_their_run_goes_on(tmp_path: Path) -> None:
    """One process waits for the other in a library, where Python would not heed a signal."""
    config, out = tmp_path / "run.toml", tmp_path / "run"
    config.write_text('reward = "vendi:logmel"\nsteps = 300\nprompts_per_step = 2\ndemonstration_steps = 2\n')
    command = [sys.executable, "-m", *LAUNCH, "-m", "dragon_train", str(config), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launched = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: (out / "metrics.csv").exists() or launched.poll() is not None)
    os.killpg(launched.pid, signal.SIGINT)
    assert launched.wait(timeout=60) != 0
    wait_until(lambda: not is_group(launched.pid))
    assert len(load_checkpoint(out / "checkpoint.pt").rows) >= 1
    with locked(out):
        pass
