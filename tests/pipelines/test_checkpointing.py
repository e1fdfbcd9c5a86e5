"""Gradient checkpointing gives the same step where it works, and is refused before work where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from support.pipelines import BUILDERS, load
from support.results import result

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError
from dragon_train.config import TrainConfig
from dragon_train.loop.loop import train
from dragon_train.objectives.configured import make_objective

if TYPE_CHECKING:
    from pathlib import Path

UNABLE = ("longcat-audio", "audioldm2")
CONFIG = TrainConfig("vendi:logmel", lora_rank=2, steps=1, prompts_per_step=2, demonstration_steps=2, epochs=1)


def tune(name: str, saved: Path, out: Path, *, checkpointing: bool) -> None:
    config = replace(CONFIG, gradient_checkpointing=checkpointing)
    reward = compose(config.reward)
    objective = make_objective(config)
    train(config, load(name, saved), reward, objective, ["a slow hymn", "a jig"], out, lambda _: None)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - set(UNABLE)))
def test_it_changes_nothing_but_memory(name: str, saved: Path, tmp_path: Path) -> None:
    for checkpointing in (False, True):
        tune(name, saved, tmp_path / str(checkpointing), checkpointing=checkpointing)
    kept, again = result(tmp_path / "False"), result(tmp_path / "True")
    assert all(torch.allclose(kept[path], again[path], atol=1e-6) for path in kept)


@pytest.mark.parametrize("name", UNABLE)
def test_it_is_refused_before_work_where_it_would_fail(name: str, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gradient_checkpointing = true: .*leave it out"):
        tune(name, saved, tmp_path / "run", checkpointing=True)
    assert not (tmp_path / "run").exists()
