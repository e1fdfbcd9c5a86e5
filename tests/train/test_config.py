"""Configurations are checked before work starts, and name key, value and remedy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_train.config import TrainConfig, read_config, train_config
from dragon_train.objectives.configured import make_objective
from dragon_train.presets import builtin_presets, load_preset


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"reward": "vendi:clap", "stepz": 3}, ["stepz", "steps"]),
        ({}, ["reward", "vendi:clap"]),
        ({"reward": "vendi:clap", "steps": "many"}, ["steps", "many", "int"]),
        ({"reward": "vendi:clap", "steps": True}, ["steps", "bool"]),
        ({"reward": "vendi:clap", "steps": 0}, ["steps", "0", "at least 1"]),
        ({"reward": "vendi:clap", "learning_rate": float("nan")}, ["learning_rate", "nan"]),
        ({"reward": "vendi:clap", "pairing": "both"}, ["pairing", "both", "unpaired"]),
    ],
)
def test_a_wrong_configuration_is_refused(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        train_config(values, "mine.toml")
    assert all(word in str(refusal.value) for word in ["mine.toml", *words])


def test_a_configuration_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('reward = "vendi:clap"\nlearning_rate = 1\n')
    config = train_config(read_config(path), str(path))
    assert config == TrainConfig("vendi:clap", learning_rate=1)
    assert train_config(asdict(config), "again") == config


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: no such"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("reward = ")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        read_config(tmp_path / "bad.toml")


def test_dpo_refuses_unpaired_demonstrations() -> None:
    with pytest.raises(ConfigError, match="kto"):
        make_objective(TrainConfig("vendi:clap", pairing="unpaired"))
    kto = TrainConfig("vendi:clap", pairing="unpaired", objective="kto")
    assert make_objective(kto) is not None


def test_unknown_objectives_suggest_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="dpo"):
        make_objective(TrainConfig("vendi:clap", objective="dpoo"))


@pytest.mark.parametrize("name", sorted(builtin_presets()))
def test_shipped_presets_configure_every_kind(name: str) -> None:
    preset = load_preset(name)
    for reward in ("clap-score:clap", "vendi:clap"):
        assert preset.config(compose(reward), seed=1).seed == 1


def test_a_preset_overrides_by_pattern_and_the_last_match_wins(tmp_path: Path) -> None:
    path = tmp_path / "patterns.toml"
    path.write_text(
        "heldout_prompts = 8\ninference_steps = 2\nsubset_size = 4\nrounds = 1\n[train]\nsteps = 1\n"
        '[rewards."dataset-fad:*"]\npool = 3\nsteps = 2\n[rewards."*@airs"]\nsteps = 5\n'
    )
    preset = load_preset(str(path))
    steps = {name: preset.config(compose(name), seed=0).steps for name in ("vendi:clap", "dataset-fad:clap@airs")}
    assert steps == {"vendi:clap": 1, "dataset-fad:clap@airs": 5}
    assert preset.config(compose("dataset-fad:clap@tunebook"), seed=0).pool == 3


def test_a_wrong_preset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mini.toml"
    path.write_text("heldout_prompts = 8\ninference_steps = 2\nsubset_size = 9\nrounds = 1\n")
    with pytest.raises(ConfigError, match="subset_size = 9"):
        load_preset(str(path))
    path.write_text("heldout_prompts = 8\n")
    with pytest.raises(ConfigError, match="inference_steps, rounds, subset_size"):
        load_preset(str(path))
    with pytest.raises(UnknownNameError, match="quick"):
        load_preset("quik")
