"""A kill -9 at any moment loses at most the step in progress, and the run ends with the same weights."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
import torch
from support.results import result

from dragon_rewards import compose
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import train
from dragon_train.loop.run import load_checkpoint
from dragon_train.loop.run_folder import CHECKPOINT, has_result
from dragon_train.objectives.configured import make_objective

pytestmark = pytest.mark.slow

KILLS = 20
CONFIG = TrainConfig("vendi:logmel", steps=28, prompts_per_step=2, epochs=1, demonstration_steps=2, pool=1)
FORKS = multiprocessing.get_context("forkserver")  # a child has torch imported and no threads yet
FORKS.set_forkserver_preload(["train.test_kill"])


def run(out: Path, told: Path) -> None:
    """Train; every step that the caller was told of is a line in `told`."""
    torch.set_num_threads(1)
    reward = compose(CONFIG.reward)

    def tell(row: dict[str, float]) -> None:
        with told.open("a") as file:
            file.write(f"{row['step']}\n")

    train(CONFIG, load_policy(), reward, make_objective(CONFIG), prompts("train"), out, tell)


def started(out: Path, told: Path) -> multiprocessing.context.ForkServerProcess:
    process = FORKS.Process(target=run, args=(out, told))
    process.start()
    return process


def kept(out: Path) -> int:
    """Steps that the checkpoint holds."""
    return len(load_checkpoint(out / CHECKPOINT).rows) if (out / CHECKPOINT).exists() else 0


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_twenty_kills_at_random_moments_lose_no_step_that_was_reported(tmp_path: Path) -> None:
    whole, killed, told = tmp_path / "whole", tmp_path / "killed", tmp_path / "told"
    process = started(whole, tmp_path / "told-whole")
    process.join()
    assert process.exitcode == 0
    moments = random.Random(0)
    for _ in range(KILLS):
        assert not has_result(killed), "the run ended before all kills: give it more steps"
        victim = started(killed, told)
        time.sleep(moments.uniform(0.2, 1.3))
        victim.kill()
        victim.join()
        assert has_result(killed) or kept(killed) >= lines(told)
    last = started(killed, told)
    last.join()
    assert last.exitcode == 0
    steps = [float(line) for line in told.read_text().split()]
    assert steps == sorted(set(steps)), "a step that was reported was done again"
    ours, theirs = result(killed), result(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
