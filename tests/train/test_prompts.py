"""Which prompts a run is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon_rewards import load_registry
from dragon_rewards.compute.devices import CPU
from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.exemplars import captions
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.embedded.words import named
from dragon_train.loop.run_folder import kept_prompts
from dragon_train.loop.tuning import load_policy
from dragon_train.prompts import split
from dragon_train.registry import load_train_registry
from dragon_train.session import run_training


def test_the_embedded_model_has_its_own() -> None:
    train, heldout = split(TrainConfig("vendi:clap", heldout_prompts=5), None)
    assert list(train) == list(prompts("train"))
    assert list(heldout) == list(prompts("watch"))[:5]


def test_a_list_is_split_at_random_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    lines = [f"a song number {index}" for index in range(30)]
    path.write_text("\n".join(lines))
    train, heldout = split(TrainConfig("vendi:clap", heldout_prompts=10), path)
    assert (len(train), len(heldout)) == (20, 10)
    assert sorted([*train, *heldout]) == sorted(lines)
    with pytest.raises(ConfigError, match=r"mine\.txt: 30 prompts, too few"):
        split(TrainConfig("vendi:clap", heldout_prompts=20), path)


def test_another_pipeline_takes_music_of_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    music, _ = split(TrainConfig("dataset-fad:clap@descriptions", pipeline="ace-step"), None)
    assert len(set(music)) == len(music) == 312
    assert "music_prompts.txt" in capsys.readouterr().err


def test_no_prompt_has_two_roles_or_is_a_caption_of_a_set() -> None:
    lists = {role: prompts(role) for role in ("train", "watch", "exam")}
    sets = [captions(info) for info in load_registry().exemplar_sets.values()]
    every = [text for texts in lists.values() for text in texts]
    assert len(set(every)) == len(every) == 960 + 256 + 256
    assert set(every).isdisjoint(caption for found in sets for caption in found)


@pytest.mark.parametrize("role", ["train", "watch", "exam"])
def test_every_prefix_names_the_values_of_an_attribute_equally_often(role: str) -> None:
    texts = [named(text) for text in prompts(role)]
    for attribute in {name for text in texts for name in text}:
        values = [text[attribute] for text in texts if attribute in text]
        counts = dict.fromkeys(values, 0)
        for value in values:
            counts[value] += 1
            assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.slow
def test_a_run_keeps_its_prompts_and_goes_on_with_no_others(tmp_path: Path) -> None:
    path, out = tmp_path / "mine.txt", tmp_path / "run"
    path.write_text("a jig\na hymn\na waltz\na song")
    config = TrainConfig(
        "vendi:logmel", steps=1, prompts_per_step=2, demonstration_steps=2, epochs=1, heldout_prompts=2
    )
    run_training(config, path, out, "cpu")
    kept = kept_prompts(out)
    assert (len(kept.train), len(kept.heldout)) == (2, 2)
    assert sorted(kept.train + kept.heldout) == ["a hymn", "a jig", "a song", "a waltz"]
    run_training(config, path, out, "cpu")
    path.write_text("a jig\na hymn\na waltz\na reel")
    with pytest.raises(ConfigError, match="holds a run on other prompts"):
        run_training(config, path, out, "cpu")
    (out / "prompts.json").write_text("{")
    with pytest.raises(DragonError, match=r"prompts\.json' cannot be read"):
        run_training(config, path, out, "cpu")
    (out / "config.json").write_text("{")
    (out / "prompts.json").unlink()
    with pytest.raises(DragonError, match=r"config\.json' cannot be read"):
        run_training(config, tmp_path / "mine.txt", out, "cpu")
    (out / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(DragonError, match=r"adapter_model\.safetensors' is cut off"):
        load_policy(load_train_registry().pipeline("embedded"), out, CPU)
