"""A finished run goes on for more steps, to what a run of as many steps from the start is, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import torch
from support.results import result
from support.tiny import CONFIG, tiny_policy, tiny_run

from dragon_rewards.errors import ConfigError
from dragon_train.loop.run_folder import CHECKPOINT, FINAL_CHECKPOINT, METRICS, is_finished, stored_config, stored_run
from dragon_train.loop.run_folder import CONFIG as SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from dragon_train.config import TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
SONG, LATENTS = "per-song-fad:logmel@airs", "per-song-fad:vae@airs"
RUNS = {
    "dpo": CONFIG,
    "all weights": replace(CONFIG, tuning="all", ema=0.5, pool=1, at_least=(LATENTS,)),
    "previous policy": replace(CONFIG, objective="nft", options={"group": 2, "levels": 1}),
    "comparisons": replace(CONFIG, heldout=(SONG,), heldout_prompts=4, patience=9),
}


class Killed(BaseException):
    """Stands for a kill between two steps."""


def assert_alike(one: Path, other: Path) -> None:
    """Results, settings and figures, but for the seconds."""
    first, second = result(one), result(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert stored_config(one) == stored_config(other)
    tables = [pd.read_csv(folder / METRICS).filter(regex="^(?!.*_s$)") for folder in (one, other)]
    assert tables[0].equals(tables[1])


def longer(config: TrainConfig, by: int = 2) -> TrainConfig:
    return replace(config, steps=config.steps + by)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_goes_on_is_the_longer_run(name: str, tmp_path: Path) -> None:
    config, policies = RUNS[name], [tiny_policy(), tiny_policy()]
    tiny_run(longer(config), tmp_path / "whole", policies[0])
    tiny_run(config, tmp_path / "parts")
    rows = tiny_run(longer(config), tmp_path / "parts", policies[1])
    assert [row["step"] for row in rows] == [3, 4]
    assert_alike(tmp_path / "whole", tmp_path / "parts")
    sounds = [policy.sample(["a jig"], [0], 2, 1.0).cpu() for policy in policies]
    assert torch.equal(*sounds)


def test_a_kill_while_a_run_goes_on_loses_no_step(tmp_path: Path) -> None:
    def kill(_: dict[str, float]) -> None:
        raise Killed

    tiny_run(longer(CONFIG), tmp_path / "whole")
    tiny_run(CONFIG, tmp_path / "parts")
    before = result(tmp_path / "parts")
    with pytest.raises(Killed):
        tiny_run(longer(CONFIG), tmp_path / "parts", on_step=kill)
    assert all(torch.equal(before[name], value) for name, value in result(tmp_path / "parts").items())
    assert not is_finished(tmp_path / "parts")
    assert not (tmp_path / "parts" / FINAL_CHECKPOINT).exists()
    assert [row["step"] for row in tiny_run(longer(CONFIG), tmp_path / "parts")] == [4]
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def test_a_kill_before_the_new_state_is_there_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings have the new steps by then, and the result is the shorter run's."""

    def kill(*_: object) -> None:
        raise Killed

    tiny_run(longer(CONFIG), tmp_path / "whole")
    tiny_run(CONFIG, tmp_path / "parts")
    monkeypatch.setattr("dragon_train.loop.run.save_checkpoint", kill)
    with pytest.raises(Killed):
        tiny_run(longer(CONFIG), tmp_path / "parts")
    monkeypatch.undo()
    assert stored_config(tmp_path / "parts").steps == 4
    assert [row["step"] for row in tiny_run(longer(CONFIG), tmp_path / "parts")] == [3, 4]
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def test_an_interrupted_run_may_get_more_steps_too(tmp_path: Path) -> None:
    def kill(_: dict[str, float]) -> None:
        raise Killed

    with pytest.raises(Killed):
        tiny_run(CONFIG, tmp_path / "parts", on_step=kill)
    tiny_run(longer(CONFIG, 1), tmp_path / "parts")
    tiny_run(longer(CONFIG, 1), tmp_path / "whole")
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def test_what_it_goes_on_with_is_recorded(tmp_path: Path) -> None:
    tiny_run(CONFIG, tmp_path)
    first = json.loads((tmp_path / SETTINGS).read_text())["provenance"]
    tiny_run(longer(CONFIG, 1), tmp_path)
    tiny_run(longer(CONFIG, 2), tmp_path)
    made_with = stored_run(tmp_path)[1]
    assert [each["from_steps"] for each in made_with["continued"]] == [2, 3]
    assert all(each["packages"] == first["packages"] for each in made_with["continued"])
    assert json.loads((tmp_path / SETTINGS).read_text())["provenance"]["read_from_latents"] == []


def test_a_run_that_had_stopped_early_makes_no_further_step(tmp_path: Path) -> None:
    config = replace(RUNS["comparisons"], learning_rate=0.0, patience=1, steps=4)
    assert len(tiny_run(config, tmp_path)) == 2
    before = result(tmp_path)
    assert tiny_run(longer(config), tmp_path) == []
    assert is_finished(tmp_path)
    assert all(torch.equal(before[name], value) for name, value in result(tmp_path).items())


def test_fewer_steps_and_a_state_that_is_gone_are_refused(tmp_path: Path) -> None:
    tiny_run(CONFIG, tmp_path)
    with pytest.raises(ConfigError, match="steps = 2, which may become more, not 1"):
        tiny_run(replace(CONFIG, steps=1), tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()
    (tmp_path / FINAL_CHECKPOINT).unlink()
    with pytest.raises(ConfigError, match=f"no {FINAL_CHECKPOINT}, from which 4 steps would go on"):
        tiny_run(longer(CONFIG), tmp_path)
    assert tiny_run(CONFIG, tmp_path) == []
