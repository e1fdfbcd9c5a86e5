"""Which prompts a run is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragon_rewards.errors import ConfigError
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts
from dragon_train.prompt_lists import split


def test_the_embedded_model_has_its_own() -> None:
    train, heldout = split(TrainConfig("vendi:clap", heldout_prompts=5), None)
    assert list(train) == list(prompts("train"))
    assert list(heldout) == list(prompts("heldout"))[:5]


def test_a_list_is_split_at_random_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    lines = [f"a song number {index}" for index in range(30)]
    path.write_text("\n".join(lines))
    train, heldout = split(TrainConfig("vendi:clap", heldout_prompts=10), path)
    assert (len(train), len(heldout)) == (20, 10)
    assert sorted([*train, *heldout]) == sorted(lines)
    with pytest.raises(ConfigError, match=r"mine\.txt: 30 prompts are too few"):
        split(TrainConfig("vendi:clap", heldout_prompts=20), path)


def test_another_pipeline_takes_the_captions_of_the_reward_or_music_of_all_kinds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    captions, _ = split(TrainConfig("dataset-fad:clap@descriptions", pipeline="ace-step"), None)
    assert len(captions) == 140
    assert "captions of the exemplar sets" in capsys.readouterr().err
    music, _ = split(TrainConfig("vendi:clap", pipeline="ace-step"), None)
    assert len(set(music)) == len(music) == 312
    assert "music_prompts.txt" in capsys.readouterr().err
