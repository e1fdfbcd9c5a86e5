"""The loop: it learns, it resumes to the same result, it refuses before work starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from support.results import result

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.config import Pairing, TrainConfig, Tuning
from dragon_train.embedded.pipeline import load_policy
from dragon_train.embedded.prompts import prompts
from dragon_train.loop.loop import resolved, train
from dragon_train.loop.rollout import generate
from dragon_train.loop.run_folder import CHECKPOINT, METRICS, has_result
from dragon_train.loop.tuning import load_run
from dragon_train.objectives.configured import make_objective

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = TrainConfig("dataset-fad:clap@airs", tuning="all", steps=3, prompts_per_step=4, demonstration_steps=2, pool=1)


def run(config: TrainConfig, out: Path, on_step: Callable[[dict[str, float]], None] = lambda _: None) -> None:
    reward = compose(config.reward)
    train(config, load_policy(), reward, make_objective(config), prompts("train"), out, on_step)


class KilledError(Exception):
    """Stands for a kill between two steps."""


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["all", "lora"])
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path: Path, tuning: Tuning) -> None:
    config = replace(TINY, tuning=tuning)

    def stop(row: dict[str, float]) -> None:
        if row["step"] == 2:
            raise KilledError

    run(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        run(config, tmp_path / "halved", stop)
    assert not has_result(tmp_path / "halved")
    steps: list[float] = []
    run(config, tmp_path / "halved", lambda row: steps.append(row["step"]))
    assert steps == [3]
    whole, halved = (result(tmp_path / name) for name in ("whole", "halved"))
    assert whole.keys() == halved.keys()
    assert all(torch.equal(whole[key], halved[key]) for key in whole)
    columns = ["step", "reward", "positive_reward", "loss"]
    tables = [pd.read_csv(tmp_path / name / METRICS)[columns] for name in ("whole", "halved")]
    assert tables[0].equals(tables[1])


def test_a_finished_run_gives_its_model_back(tmp_path: Path) -> None:
    config = replace(TINY, reward="clap-score:clap", steps=1, learning_rate=1e-3)
    run(config, tmp_path)
    tuned, untuned = load_policy(), load_policy()
    assert load_run(tuned, tmp_path) == resolved(config, untuned)
    sound = [p.sample(["a jig on fiddle"], [0], 2, 1.0) for p in (tuned, untuned)]
    assert not torch.allclose(sound[0], sound[1], atol=1e-3)
    again: list[dict[str, float]] = []
    run(config, tmp_path, again.append)
    assert again == []


def test_a_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    config = replace(TINY, steps=1)
    run(config, tmp_path)
    with pytest.raises(ConfigError, match=r"beta = 500\.0, not 7\.0"):
        run(replace(config, beta=7.0), tmp_path)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(DragonError, match=CHECKPOINT):
        run(TINY, tmp_path)


def test_too_few_prompts_are_refused(tmp_path: Path) -> None:
    reward = compose(TINY.reward)
    with pytest.raises(ConfigError, match="prompts_per_step = 4"):
        train(TINY, load_policy(), reward, make_objective(TINY), ["one"], tmp_path, lambda _: None)


@pytest.mark.slow
def test_a_few_steps_raise_a_reward(tmp_path: Path) -> None:
    """Per-song FAD falls for most of 24 held-out clips; the same seeds before and after."""
    config = TrainConfig(
        "per-song-fad:vae@tunebook",
        tuning="all",
        learning_rate=5e-5,
        steps=3,
        prompts_per_step=24,
        keep=0.5,
        demonstration_steps=4,
    )
    reward, texts = compose(config.reward), prompts("watch")[:24]
    policy = load_policy()
    before = reward.value(generate(policy, texts, range(1000, 1024), 4, 1.0).clips)
    train(config, policy, reward, make_objective(config), prompts("train"), tmp_path, lambda _: None)
    after = reward.value(generate(policy, texts, range(1000, 1024), 4, 1.0).clips)
    assert (after > before).float().mean() > 0.6


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_kto_tunes_with_and_without_pairs(tmp_path: Path, pairing: Pairing) -> None:
    config = replace(TINY, objective="kto", pairing=pairing, steps=1)
    run(config, tmp_path)
    tuned, untuned = result(tmp_path), load_policy().denoiser.state_dict()
    assert any(not torch.equal(tuned[name], untuned[name]) for name in tuned)
