"""Configurations are checked before work starts, and name key, value and remedy."""

from __future__ import annotations

from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, DragonError, UnknownNameError
from dragon_train.bench.presets import builtin_presets, load_preset
from dragon_train.cli.verbs.train import train
from dragon_train.config import TrainConfig, read_config, train_config
from dragon_train.fields import check_value, described, field_kinds
from dragon_train.objectives.configured import make_objective

ANYTHING: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        10**30,
        0.5,
        -0.0,
        1e300,
        float("nan"),
        "",
        "no",
        "lora",
        "\x00",
        [],
        ["a"],
        [[]],
        {},
        {"a": 1},
    ]
)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"reward": "vendi:clap", "stepz": 3}, ["stepz", "steps"]),
        ({}, ["reward", "vendi:clap"]),
        ({"reward": "vendi:clap", "steps": "many"}, ["steps = 'many'", "a whole number"]),
        ({"reward": "vendi:clap", "steps": True}, ["steps = True", "a whole number"]),
        ({"reward": "vendi:clap", "steps": 0}, ["steps", "0", "at least 1"]),
        ({"reward": "vendi:clap", "learning_rate": float("nan")}, ["learning_rate", "nan"]),
        ({"reward": "vendi:clap", "keep": 1.5}, ["keep = 1.5", "at most 1"]),
        ({"reward": "vendi:clap", "pairing": "both"}, ["pairing", "both", "paired or unpaired"]),
        ({"reward": "vendi:clap", "constraint": "clip"}, ['constraint = "clip"', "at_least", "name one"]),
        ({"reward": "vendi:clap", "heldout": "vendi:clap"}, ["heldout", "a list of names"]),
        (
            {"reward": "vendi:clap", "options": {"samples": [2]}},
            ["options", "a table, each value a number"],
        ),
    ],
)
def test_a_wrong_configuration_is_refused(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        train_config(values, "mine.toml")
    assert all(word in str(refusal.value) for word in ["mine.toml", *words])


def beyond(name: str) -> list[object]:
    """Values that a field's annotation does not allow."""
    info, _ = described(field_kinds(TrainConfig)[name])
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        shift = 1 if isinstance(info, inspect.IntType) else 1e-6
        assert info.ge is not None
        return [info.ge - shift, (info.lt or info.le or 0) + shift, float("nan"), float("inf"), True, "1", None, [1]]
    return [3, None, {"a": ["b"]}, [3]]


@pytest.mark.parametrize("name", field_kinds(TrainConfig))
def test_every_field_has_bounds_and_a_meaning_and_refuses_what_is_beyond(name: str) -> None:
    info, meaning = described(field_kinds(TrainConfig)[name])
    assert meaning.endswith(".")
    for value in beyond(name):
        with pytest.raises(ConfigError, match=f"here: {name} = .*: must be"):
            train_config({"reward": "vendi:clap", name: value}, "here")
    for bound in (getattr(info, "ge", None), getattr(info, "le", None)):
        if bound is not None:
            check_value(name, bound, field_kinds(TrainConfig)[name])


@given(st.dictionaries(st.sampled_from(sorted(field_kinds(TrainConfig))), ANYTHING, max_size=4))
def test_whatever_a_table_holds_the_answer_is_a_configuration_or_a_refusal(values: dict[str, object]) -> None:
    try:
        found: object = train_config({"reward": "vendi:clap", **values}, "here")
    except ConfigError as refusal:
        found = refusal
    assert isinstance(found, TrainConfig) or str(found).startswith("here: ")


def test_every_setting_but_the_objectives_own_is_an_option_with_its_meaning() -> None:
    shown = {each.name: each for each in signature(train, eval_str=True).parameters.values()}
    for name, kind in field_kinds(TrainConfig).items():
        if name != "options":
            [option] = get_args(shown[name].annotation)[1:]
            assert option.help == described(kind)[1]


def test_a_configuration_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('reward = "vendi:clap"\nlearning_rate = 1\n')
    config = train_config(read_config(path), str(path))
    assert config == TrainConfig("vendi:clap", learning_rate=1)
    assert train_config(asdict(config), "again") == config


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DragonError, match=r"absent\.toml' cannot be read \(No such file"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("reward = ")
    with pytest.raises(DragonError, match=r"bad\.toml' cannot be read \(Invalid value"):
        read_config(tmp_path / "bad.toml")


def test_dpo_refuses_unpaired_demonstrations() -> None:
    with pytest.raises(ConfigError, match="kto"):
        make_objective(TrainConfig("vendi:clap", pairing="unpaired"))
    kto = TrainConfig("vendi:clap", pairing="unpaired", objective="kto")
    assert make_objective(kto) is not None


@pytest.mark.parametrize("chosen", ["raft samples", "direct gradient_steps", "nft levels"])
def test_an_objectives_own_options_are_held_to_their_bounds(chosen: str) -> None:
    objective, option = chosen.split()
    assert make_objective(TrainConfig("vendi:clap", objective=objective, options={option: 2})) is not None
    for value in (0, 2.5, 10**6, True, "two"):
        with pytest.raises(ConfigError, match=rf"options\.{option} = {value!r}: must be a whole number of at least 1"):
            make_objective(TrainConfig("vendi:clap", objective=objective, options={option: value}))


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


def test_a_preset_may_maximise_more_than_the_target(tmp_path: Path) -> None:
    path = tmp_path / "beside.toml"
    path.write_text(
        "heldout_prompts = 8\ninference_steps = 2\nsubset_size = 4\nrounds = 1\n"
        'beside = "0.5 * vendi:clap + vendi:vae"\n'
        '[rewards."clap-score:*"]\nbeside = ""\n[rewards."dataset-fad:*"]\nbeside = "vendi:vae"\nweight = 2\n'
    )
    preset = load_preset(str(path))
    maximised = {
        "per-song-fad:clap@airs": "per-song-fad:clap@airs + 0.5 * vendi:clap + vendi:vae",
        "vendi:vae": "vendi:vae + 0.5 * vendi:clap",
        "clap-score:clap": "clap-score:clap",
        "dataset-fad:clap@airs": "2 * dataset-fad:clap@airs + vendi:vae",
    }
    assert {name: preset.config(compose(name), seed=0).reward for name in maximised} == maximised
    path.write_text(path.read_text().replace('"vendi:vae"', '"vendi:vea"'))
    with pytest.raises(UnknownNameError, match="vea"):
        load_preset(str(path)).config(compose("dataset-fad:clap@airs"), seed=0)


@pytest.mark.parametrize("table", ["train", 'rewards."vendi:*"'])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("beside = 3", "beside = 3: must be a text"),
        ('weight = "x"', "weight = "),
        ("weight = 0", "weight = 0: must be"),
    ],
)
def test_what_overrides_the_target_is_checked_as_the_preset_is(
    tmp_path: Path, table: str, line: str, said: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"heldout_prompts = 8\ninference_steps = 2\nsubset_size = 4\nrounds = 1\n[{table}]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"preset .*wrong\.toml: {said}"):
        load_preset(str(path)).config(compose("vendi:clap"), seed=0)


def test_a_wrong_preset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mini.toml"
    path.write_text("heldout_prompts = 8\ninference_steps = 2\nsubset_size = 9\nrounds = 1\n")
    with pytest.raises(ConfigError, match="subset_size = 9"):
        load_preset(str(path))
    path.write_text("heldout_prompts = 8\n")
    with pytest.raises(ConfigError, match="inference_steps, rounds, subset_size"):
        load_preset(str(path))
    path.write_text(
        'heldout_prompts = 8\ninference_steps = 2\nsubset_size = 4\nrounds = 1\n[train]\nstart_from = "runs/first"\n'
    )
    with pytest.raises(ConfigError, match="start_from is of `dragon train` alone"):
        load_preset(str(path)).config(compose("vendi:clap"), seed=0)
    with pytest.raises(UnknownNameError, match="quick"):
        load_preset("quik")
