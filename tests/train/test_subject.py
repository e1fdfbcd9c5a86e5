"""The pipeline and the prompts that a benchmark or an ablation is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipelines.builders import folder_of

from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_train.bench.workload import choose_subject
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    path = tmp_path / "songs.txt"
    path.write_text("\n".join(f"song {index}" for index in range(30)))
    return path


def test_the_embedded_pipeline_has_its_own_prompts() -> None:
    subject = choose_subject("embedded", None, 10)
    assert subject.train == tuple(prompts("train"))
    assert subject.compared_on(10) == tuple(prompts("heldout"))[:10]
    with pytest.raises(ConfigError, match="heldout_prompts = 99999"):
        subject.compared_on(99999)


def test_a_list_is_parted_at_random_and_alike_every_time(songs: Path) -> None:
    subject = choose_subject("embedded", songs, 10)
    assert (len(subject.train), len(subject.heldout)) == (20, 10)
    assert {*subject.train, *subject.heldout} == set(songs.read_text().splitlines())
    assert subject.heldout != tuple(songs.read_text().splitlines()[20:])
    assert choose_subject("embedded", songs, 10) == subject
    assert choose_subject("embedded", songs, 11).digest != subject.digest


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_other_pipelines_take_music_of_all_kinds(tmp_path: Path) -> None:
    subject = choose_subject(str(folder_of("stable-audio", tmp_path)), None, 100)
    assert (len(subject.train), len(subject.heldout)) == (212, 100)


def test_too_few_prompts_and_unknown_pipelines_are_refused(songs: Path) -> None:
    with pytest.raises(ConfigError, match=r"songs\.txt: 30 prompts, of which heldout_prompts = 30 leave none"):
        choose_subject("embedded", songs, 30)
    with pytest.raises(ConfigError, match=r"prompts_per_step = 21 \(vendi:clap\): there are only 20"):
        choose_subject("embedded", songs, 10).check([TrainConfig("vendi:clap", prompts_per_step=21)])
    with pytest.raises(UnknownNameError, match="embedded"):
        choose_subject("embeded", None, 10)
