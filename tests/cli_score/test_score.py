"""`dragon score` on real files: rows, formats, prompts, and what it refuses before anything is encoded."""

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
from dragon_rewards.media.encodable import CPU_BATCH
from dragon_rewards.rewards import compose
from dragon_train.cli.app import app
from dragon_train.cli.verbs import listing, score

if TYPE_CHECKING:
    from pathlib import Path

    from support.parts import TwoTower
    from typer.testing import Result

FAD, SET_FAD, CLAP_SCORE = "per-song-fad:two@tunes", "dataset-fad:two@tunes", "clap-score:two"
VERBS = (listing, score)  # their imports add them to the app, which takes no lone verb's name


@pytest.fixture(name="songs")
def folder_of_songs(tmp_path: Path) -> Path:
    """Five files of one second: a.wav, b.flac, c.ogg and deep/d.wav, deep/e.wav."""
    songs = tmp_path / "songs"
    (songs / "deep").mkdir(parents=True)
    for name, clip in zip(["a.wav", "b.flac", "c.ogg", "deep/d.wav", "deep/e.wav"], noise(5), strict=True):
        write_audio(songs / name, clip, RATE)
    return songs


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def rows(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    scored: list[dict[str, Any]] = json.loads(result.stdout)
    return scored


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    return " ".join(result.stderr.split())


@pytest.mark.usefixtures("encoder")
def test_a_row_per_file_in_the_order_of_the_files(songs: Path) -> None:
    scored = rows(FAD, songs)
    files = [songs / name for name in ["a.wav", "b.flac", "c.ogg", "deep/d.wav", "deep/e.wav"]]
    assert [row["path"] for row in scored] == list(map(str, files))
    audio = torch.cat([read_audio(file)[0] for file in files])
    expected = -compose(FAD).score(audio, RATE)
    assert [row["value"] for row in scored] == pytest.approx(expected.tolist(), rel=1e-5)
    assert {(row["reward"], row["better"]) for row in scored} == {(FAD, "lower")}


@pytest.mark.usefixtures("encoder")
def test_one_value_for_a_set(songs: Path) -> None:
    (row,) = rows(SET_FAD, songs / "deep", songs / "a.wav", songs / "a.wav")
    audio = torch.cat([read_audio(songs / name)[0] for name in ["deep/d.wav", "deep/e.wav", "a.wav"]])
    assert row == {
        "clips": 3,
        "value": pytest.approx(-float(compose(SET_FAD).score(audio, RATE)), rel=1e-5),
        "reward": SET_FAD,
        "better": "lower",
    }


@pytest.mark.usefixtures("encoder")
def test_rates_channels_and_lengths_may_differ(songs: Path) -> None:
    alone = {row["path"]: row["value"] for row in rows(FAD, songs)}
    write_audio(songs / "0-long.wav", noise(3, seed=9).flatten(), RATE)
    write_audio(songs / "0-stereo.wav", torch.stack(list(noise(2, seed=8))), 44_100)
    mixed = {row["path"]: row["value"] for row in rows(FAD, songs)}
    assert len(mixed) == 7
    assert {path: mixed[path] for path in alone} == pytest.approx(alone, rel=1e-5)


def test_clips_are_encoded_once_in_batches_with_the_shortest_first(songs: Path, encoder: TwoTower) -> None:
    alone = rows(FAD, songs)
    encoder.passes = 0
    for index, clip in enumerate(noise(40, seed=2)):
        write_audio(songs / f"more-{index:02d}.wav", clip, RATE)
    rows(SET_FAD, songs)
    assert encoder.passes == ceil((len(alone) + 40) / CPU_BATCH)


@pytest.mark.usefixtures("encoder")
def test_csv_and_table(songs: Path, tmp_path: Path) -> None:
    result = run(FAD, songs, "--wide", "--csv", tmp_path / "new" / "scores.csv")
    columns, table = read_table(tmp_path / "new" / "scores.csv")
    assert columns == ["path", "value", "reward", "better"]
    assert [float(row["value"]) for row in table] == [row["value"] for row in rows(FAD, songs)]
    assert str(songs / "deep" / "d.wav") in result.stdout
    assert "lower" in result.stdout


@pytest.mark.usefixtures("encoder")
def test_prompts_beside_the_files(songs: Path) -> None:
    (songs / "prompts.csv").write_text('path,prompt,seed\na.wav,"slow, jig",0\nb.flac,fast air,1\nc.ogg,slow air,2\n')
    (songs / "deep" / "prompts.csv").write_text("\ufeffprompt,path\nfast jig,d.wav\nslow jig,e.wav\n")
    scored = rows(CLAP_SCORE, songs)
    texts = ["slow, jig", "fast air", "slow air", "fast jig", "slow jig"]
    audio = torch.cat(
        [read_audio(songs / name)[0] for name in ["a.wav", "b.flac", "c.ogg", "deep/d.wav", "deep/e.wav"]]
    )
    expected = compose(CLAP_SCORE).score(audio, RATE, prompts=texts)
    assert [row["value"] for row in scored] == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)
    assert {row["better"] for row in scored} == {"higher"}


@pytest.mark.usefixtures("encoder")
def test_prompts_in_a_jsonl_table_elsewhere(songs: Path, tmp_path: Path) -> None:
    entries = [{"path": "songs/deep/d.wav", "prompt": "fast jig"}, {"path": str(songs / "deep/e.wav"), "prompt": "air"}]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert len(rows(CLAP_SCORE, songs / "deep", "--prompts", tmp_path / "table.jsonl")) == 2


def test_missing_and_malformed_prompts(songs: Path, tmp_path: Path, encoder: TwoTower) -> None:
    table = tmp_path / "table.csv"
    assert "add its path and prompt to a table prompts.csv beside it" in refused(CLAP_SCORE, songs)
    assert "table.csv' cannot be read" in refused(CLAP_SCORE, songs, "--prompts", table)
    table.write_text("path,prompt\nsongs/a.wav,jig\nsongs/b.flac, \n")
    refusal = refused(CLAP_SCORE, songs, "--prompts", table)
    assert f"no prompt for '{songs / 'b.flac'}' and 3 more; add its path and prompt to '{table}'" in refusal
    table.write_text("file,prompt\na.wav,jig\n")
    assert "no column path or file_name; its columns: file, prompt" in refused(CLAP_SCORE, songs, "--prompts", table)
    table.write_text("path,prompt\nsongs/a.wav,jig\nsongs/a.wav,air\n")
    assert "row 2: 'songs/a.wav' is listed in row 1, too" in refused(CLAP_SCORE, songs, "--prompts", table)
    table.write_bytes(b"path,prompt\n\xff,jig\n")
    assert "is not in UTF-8 (byte 0xff at 12)" in refused(CLAP_SCORE, songs, "--prompts", table)
    (tmp_path / "table.jsonl").write_text("[1]\n")
    assert "row 1: [1]; the rows of a table are objects" in refused(
        CLAP_SCORE, songs, "--prompts", tmp_path / "table.jsonl"
    )
    assert encoder.passes == 0


def test_bad_input_is_refused_before_anything_is_encoded(songs: Path, tmp_path: Path, encoder: TwoTower) -> None:
    (tmp_path / "nothing").mkdir()
    assert "did you mean per-song-fad" in refused("per-song-fat:two@tunes", songs)
    assert "nothing' holds no audio" in refused(FAD, tmp_path / "nothing")
    assert "gone.wav' does not exist" in refused(FAD, tmp_path / "gone.wav")
    assert "at least 2 clips" in refused(SET_FAD, songs / "a.wav")
    assert "is a folder; give --csv" in refused(FAD, songs, "--csv", tmp_path)
    (songs / "prompts.csv").write_text("path,prompt\na.wav,a jig\n")
    assert "prompts.csv' is there and has no column value" in refused(FAD, songs, "--csv", songs / "prompts.csv")
    write_audio(songs / "silent.wav", torch.zeros(RATE), RATE)
    assert "silent.wav' is silent" in refused(FAD, songs)
    (songs / "silent.wav").unlink()
    (songs / "text.wav").write_text("not audio")
    assert "text.wav' cannot be read as audio" in refused(FAD, songs)
    assert encoder.passes == 0


def test_what_is_wrong_with_a_later_folder_is_refused_before_the_first_is_encoded(
    songs: Path, encoder: TwoTower
) -> None:
    first, later = songs / "deep", songs.with_name("later")
    for index, clip in enumerate(noise(3)):
        write_audio(later / f"{index}.wav", clip, RATE)
    for name in ("d", "e"):
        (first / f"{name}.txt").write_text("a jig")
    said = refused("best-of-4-clap-score:two", first, later)
    assert f"no prompt for '{later / '0.wav'}' and 2 more" in said
    (later / "4.wav").write_text("not audio")
    assert "4.wav' cannot be read as audio" in refused(SET_FAD, first, later)
    assert encoder.passes == 0


def test_a_clip_shorter_than_one_frame_is_refused_before_the_others_are_encoded(songs: Path, encoder: TwoTower) -> None:
    write_audio(songs / "z-click.wav", noise(1)[0, :50], RATE)
    assert "z-click.wav' (50 samples at 8000 Hz)" in refused(FAD, songs)
    assert encoder.passes == 1


def test_an_encoder_whose_statistics_were_made_by_another_is_refused_first(songs: Path, encoder: TwoTower) -> None:
    encoder.identity = "projection-2"
    assert "projection-1" in refused(FAD, songs)
    assert encoder.passes == 0
