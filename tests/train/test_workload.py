"""The pipeline and the prompts that a benchmark or an ablation is about."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pipelines import folder_of

from dragon_rewards.errors import ConfigError, TableError, UnknownNameError
from dragon_train.bench.workload import choose_workload
from dragon_train.config import TrainConfig
from dragon_train.embedded.prompts import prompts


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    path = tmp_path / "songs.txt"
    path.write_text("\n".join(f"song {index}" for index in range(30)))
    return path


def test_the_embedded_pipeline_has_its_own_prompts() -> None:
    workload = choose_workload("embedded", None, 10)
    assert workload.train == tuple(prompts("train"))
    assert workload.compared_on(10) == tuple(prompts("exam"))[:10]
    assert choose_workload("embedded", None, 10, "watch").compared_on(10) == tuple(prompts("watch"))[:10]
    with pytest.raises(ConfigError, match="heldout_prompts = 99999"):
        workload.compared_on(99999)


def test_a_list_is_parted_at_random_and_alike_every_time(songs: Path) -> None:
    workload = choose_workload("embedded", songs, 10)
    assert (len(workload.train), len(workload.heldout)) == (20, 10)
    assert {*workload.train, *workload.heldout} == set(songs.read_text().splitlines())
    assert workload.heldout != tuple(songs.read_text().splitlines()[20:])
    assert choose_workload("embedded", songs, 10) == workload
    assert choose_workload("embedded", songs, 11).digest != workload.digest
    watching = choose_workload("embedded", songs, 10, "watch")
    assert (len(watching.train), len(watching.heldout)) == (10, 10)
    assert {*watching.train, *watching.heldout}.isdisjoint(workload.heldout)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_other_pipelines_take_music_of_all_kinds(tmp_path: Path) -> None:
    workload = choose_workload(str(folder_of("stable-audio", tmp_path)), None, 100)
    assert (len(workload.train), len(workload.heldout)) == (212, 100)


def test_columns_that_a_benchmark_would_not_heed_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "songs.csv"
    table.write_text("prompt,seed,lyrics\n" + "".join(f"tune {n},{n},la\n" for n in range(30)), encoding="utf-8")
    with pytest.raises(TableError, match=r"songs\.csv' has a column 'lyrics', and `dragon bench` and `dragon ablate`"):
        choose_workload("embedded", table, 10)
    table.write_text("prompt,seed\n" + "".join(f"tune {n},{n}\n" for n in range(30)), encoding="utf-8")
    assert len(choose_workload("embedded", table, 10).train) == 20


def test_too_few_prompts_and_unknown_pipelines_are_refused(songs: Path) -> None:
    with pytest.raises(ConfigError, match=r"songs\.txt: 30 prompts, of which heldout_prompts = 30 leave none"):
        choose_workload("embedded", songs, 30)
    with pytest.raises(ConfigError, match=r"prompts_per_step = 21 \(vendi:clap\), of only 20"):
        choose_workload("embedded", songs, 10).check([TrainConfig("vendi:clap", prompts_per_step=21)])
    with pytest.raises(UnknownNameError, match="embedded"):
        choose_workload("embeded", None, 10)
