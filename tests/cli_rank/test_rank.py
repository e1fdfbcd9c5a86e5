"""`dragon rank` on real files: the order, what the value is of, formats, and what it refuses."""

from __future__ import annotations

import json
from math import ceil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.cli import read_table
from support.parts import RATE, noise
from typer.testing import CliRunner

from dragon_rewards.media.audio import read_audio, write_audio
from dragon_rewards.media.clips import Clips
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.metrics import clip_contributions
from dragon_rewards.ranking import credits_of
from dragon_rewards.rewards import compose
from dragon_train.cli.app import app
from dragon_train.cli.verbs import listing, rank

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import TwoTower
    from typer.testing import Result

FAD, SET_FAD, VENDI, CLAP_SCORE = "per-song-fad:two@tunes", "dataset-fad:two@tunes", "vendi:two", "clap-score:two"
VERBS = (listing, rank)  # their imports add them to the app, which takes no lone verb's name
NAMES = [f"{letter}.wav" for letter in "abcde"]


@pytest.fixture(name="songs")
def folder_of_songs(tmp_path: Path) -> Path:
    """Five files of one second of noise, each louder than the one before, but the last, which is the second's twin."""
    songs = tmp_path / "songs"
    songs.mkdir()
    for level, (name, clip) in enumerate(zip(NAMES, noise(5), strict=True), 1):
        write_audio(songs / name, clip * level, RATE)
    (songs / "e.wav").write_bytes((songs / "b.wav").read_bytes())
    return songs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["rank", *map(str, arguments)])


def rows(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    ranked: list[dict[str, Any]] = json.loads(result.stdout)
    return ranked


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    return " ".join(result.stderr.split())


def clips_of(songs: Path) -> Clips:
    return Clips([read_audio(songs / name)[0] for name in NAMES], RATE)


@pytest.mark.usefixtures("encoder")
def test_files_come_by_their_value_the_best_first(songs: Path) -> None:
    ranked = rows(songs, "--reward", FAD)
    metric = dict(zip(NAMES, compose(FAD).metric(clips_of(songs)).tolist(), strict=True))
    assert [row["rank"] for row in ranked] == [1, 2, 3, 4, 5]
    assert [row["path"] for row in ranked] == [str(songs / name) for name in sorted(NAMES, key=metric.__getitem__)]
    assert [row["value"] for row in ranked] == pytest.approx(sorted(metric.values()), rel=1e-5)
    assert {(row["of"], row["reward"], row["better"]) for row in ranked} == {("metric", FAD, "lower")}


@pytest.mark.usefixtures("encoder")
def test_under_a_distance_of_the_set_by_what_each_adds_to_it(songs: Path) -> None:
    ranked = rows(songs, "--reward", SET_FAD)
    reward, clips = compose(SET_FAD), clips_of(songs)
    reference = reward.registry.reference("tunes", "two", torch.device("cpu"))
    exact = clip_contributions(reward.embeddings(clips).frames, reference).leave_one_out
    assert [row["value"] for row in ranked] == pytest.approx(sorted(exact.tolist()), rel=1e-5)
    assert ranked[0]["path"] == str(songs / NAMES[int(exact.argmin())])
    assert {(row["of"], row["better"]) for row in ranked} == {("leave-one-out", "lower")}


@pytest.mark.usefixtures("encoder")
def test_under_diversity_twins_add_the_same_and_keep_their_order(songs: Path) -> None:
    ranked = rows(songs, "--reward", VENDI)
    places = {row["path"].rsplit("/", 1)[1]: place for place, row in enumerate(ranked)}
    assert places["e.wav"] == places["b.wav"] + 1
    assert ranked[places["b.wav"]]["value"] == pytest.approx(ranked[places["e.wav"]]["value"], rel=1e-6)
    reward, clips = compose(VENDI), clips_of(songs)
    for name, place in places.items():
        without = clips.select([index for index, other in enumerate(NAMES) if other != name])
        added = float(reward.metric(clips) - reward.metric(without))
        assert ranked[place]["value"] == pytest.approx(added, rel=1e-4, abs=1e-6)
    assert {row["better"] for row in ranked} == {"higher"}


def test_credits_are_those_of_each_subset_valued_alone(encoder: TwoTower) -> None:
    """More clips than are valued at once, encoded once for all of them."""
    reward, clips = compose(SET_FAD), Clips(noise(70), RATE)
    added = credits_of(reward, clips)
    passes = encoder.passes
    for left in (0, 31, 69):
        without = reward.value(clips.select([index for index in range(70) if index != left]))
        assert float(added[left]) == pytest.approx(float(reward.value(clips) - without), rel=1e-6, abs=1e-9)
    assert passes == encoder.passes == ceil(70 / CPU_BATCH)


@pytest.mark.usefixtures("encoder")
def test_the_top_of_all_as_csv_and_table(songs: Path, tmp_path: Path) -> None:
    result = run(songs, "--reward", SET_FAD, "--top", 2, "--wide", "--csv", tmp_path / "new" / "ranks.csv")
    columns, table = read_table(tmp_path / "new" / "ranks.csv")
    assert columns == ["path", "rank", "value", "of", "reward", "better"]
    read = [row | {"rank": int(row["rank"]), "value": float(row["value"])} for row in table]
    assert read == rows(songs, "--reward", SET_FAD)[:2]
    assert table[0]["path"] in result.stdout
    assert "leave-one-out" in result.stdout


@pytest.mark.usefixtures("encoder")
def test_prompts_from_a_table(songs: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,prompt\n" + "".join(f"songs/{name},slow jig {name}\n" for name in NAMES))
    ranked = rows(songs, "--reward", CLAP_SCORE, "--prompts", table)
    values = [row["value"] for row in ranked]
    assert values == sorted(values, reverse=True)
    assert ranked[0]["better"] == "higher"


def test_what_is_refused_before_anything_is_encoded(songs: Path, tmp_path: Path, encoder: TwoTower) -> None:
    two = [songs / "a.wav", songs / "b.wav"]
    assert "takes at least 3, and there are 2" in refused(*two, "--reward", SET_FAD)
    assert "did you mean" in refused(songs, "--reward", "per-song-fat:two@tunes")
    assert "is a folder; give --csv" in refused(songs, "--reward", FAD, "--csv", tmp_path)
    assert "no prompt for" in refused(songs, "--reward", CLAP_SCORE)
    assert encoder.passes == 0
