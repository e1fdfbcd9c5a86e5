"""`dragon exemplars` with audio: windows, statistics that follow the files, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from support.sounds import tone, write_tone

from dragon_rewards import load_registry
from dragon_rewards.exemplars.audio import windows
from dragon_rewards.exemplars.sources import Source
from dragon_rewards.media.audio import read_audio
from dragon_rewards.media.cache import open_cache
from dragon_rewards.media.clips import resample, to_mono
from dragon_rewards.metrics import Gaussian
from dragon_rewards.protocols import AudioEncoder

if TYPE_CHECKING:
    from support.cli import Dragon, Refused, Rows

CPU = torch.device("cpu")


def hearing(name: str) -> AudioEncoder:
    encoder = load_registry().build_encoder(name)
    assert isinstance(encoder, AudioEncoder)
    return encoder


def of_files(encoder: str, *files: Path) -> Gaussian:
    """The Gaussian of files that are a window each, made the plain way."""
    info, built = load_registry().encoder(encoder), hearing(encoder)
    frames = []
    for file in files:
        audio, rate = read_audio(file)
        frames.append(built.encode_audio(resample(to_mono(audio), rate, info.sample_rate)[None])[0])
    return Gaussian.fit(torch.cat(frames))


def assert_near(found: Gaussian, expected: Gaussian) -> None:
    assert found.count == expected.count
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.covariance, expected.covariance, rtol=1e-5, atol=1e-6)


def reference(name: str, encoder: str) -> Gaussian:
    load_registry.cache_clear()
    return load_registry().reference(name, encoder, CPU)


def files_of(music: Path) -> list[Path]:
    return [music / "a.wav", music / "b.flac", music / "deep" / "c.OGG", music / "deep" / "d.mp3"]


def test_a_folder_becomes_a_set_that_every_audio_encoder_composes_with(music: Path, rows: Rows, dragon: Dragon) -> None:
    (added,) = rows("exemplars", "add", "mine", music, "--licence", "CC0-1.0", "--summary", "tones")
    assert (added["added"], added["examples"], added["windows"], added["encoders"]) == (4, 4, 4, [])
    assert {"per-song-fad:vae@mine", "dataset-fad:chroma@mine"} <= {row["name"] for row in rows("list", "rewards")}
    scored = dragon("score", "per-song-fad:logmel@mine", music, "--json")
    assert "mine: encoding 4 files with 'logmel'" in scored.stderr
    values = {Path(row["path"]).name: row["value"] for row in json.loads(scored.stdout)}
    assert values.keys() == {"a.wav", "b.flac", "c.OGG", "d.mp3"}
    assert dragon("score", "per-song-fad:logmel@mine", music, "--json").stderr == ""
    assert_near(reference("mine", "logmel"), of_files("logmel", *files_of(music)))
    (listed,) = rows("exemplars", "list")
    assert (listed["name"], listed["encoders"], listed["summary"]) == ("mine", ["logmel"], "tones")
    shown = json.loads(dragon("exemplars", "show", "mine", "--json").stdout)
    assert (shown["licence"], shown["count"], len(shown["items"])) == ("CC0-1.0", 4, 4)
    assert [row for row in rows("list", "exemplar-sets") if row["name"] == "mine"]


def test_adding_encodes_the_new_files_only(music: Path, tmp_path: Path, rows: Rows, dragon: Dragon) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    more = [write_tone(tmp_path / "more" / f"{seed}.wav", 2, seed=seed) for seed in (11, 12)]
    result = dragon("exemplars", "add", "mine", tmp_path / "more", music, "--encoder", "chroma", "--json")
    assert result.stderr == "mine: encoding 2 files with 'chroma'\n"
    (added,) = json.loads(result.stdout)
    assert (added["added"], added["already_there"], added["examples"]) == (2, 4, 6)
    assert_near(reference("mine", "chroma"), of_files("chroma", *files_of(music), *more))


def test_removing_takes_the_removed_out_by_what_the_cache_has(music: Path, rows: Rows, dragon: Dragon) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    kept = len(open_cache().entries())  # type: ignore[union-attr]
    (removed,) = rows("exemplars", "remove", "mine", music / "b.flac")
    assert (removed["removed"], removed["examples"]) == (1, 3)
    result = dragon("exemplars", "add", "mine", "--encoder", "chroma", "--json")
    assert result.stderr == "mine: encoding 1 file with 'chroma'\n"
    assert len(open_cache().entries()) == kept  # type: ignore[union-attr]
    left = [file for file in files_of(music) if file.name != "b.flac"]
    assert_near(reference("mine", "chroma"), of_files("chroma", *left))


def test_adding_and_removing_at_once_is_mended_at_once(music: Path, tmp_path: Path, rows: Rows) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    more = write_tone(tmp_path / "more.wav", 2, seed=11)
    rows("exemplars", "remove", "mine", music / "a.wav")
    rows("exemplars", "add", "mine", more)
    assert_near(reference("mine", "chroma"), of_files("chroma", *files_of(music)[1:], more))


def test_what_was_removed_and_deleted_is_made_good_from_the_rest(music: Path, rows: Rows, dragon: Dragon) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    rows("exemplars", "remove", "mine", music / "a.wav")
    (music / "a.wav").unlink()
    result = dragon("exemplars", "add", "mine", "--encoder", "chroma", "--json")
    assert result.stderr == "mine: encoding 3 files with 'chroma'\n"
    assert_near(reference("mine", "chroma"), of_files("chroma", *files_of(music)[1:]))


def test_removing_a_folder_and_then_the_set(music: Path, rows: Rows, dragon: Dragon, sets: Path) -> None:
    rows("exemplars", "add", "mine", music)
    shutil.rmtree(music / "deep")
    assert rows("exemplars", "remove", "mine", music / "deep")[0]["removed"] == 2
    assert dragon("exemplars", "remove", "mine").exit_code == 0
    assert list(sets.iterdir()) == []
    assert (music / "a.wav").exists()


def test_fewer_frames_than_dimensions(tmp_path: Path, rows: Rows) -> None:
    files = [write_tone(tmp_path / f"{seed}.wav", 0.2, seed=seed) for seed in range(3)]
    rows("exemplars", "add", "mine", *files[:2], "--encoder", "logmel")
    rows("exemplars", "add", "mine", files[2], "--encoder", "logmel")
    found = reference("mine", "logmel")
    assert found.count < found.dim
    assert_near(found, of_files("logmel", *files))
    rows("exemplars", "remove", "mine", files[0])
    assert_near(reference("mine", "logmel"), of_files("logmel", *files[1:]))
    scored = rows("score", "per-song-fad:logmel@mine", *files)
    assert [row["value"] > 0 for row in scored] == [True] * 3


def test_long_files_are_cut_into_windows(tmp_path: Path, rows: Rows) -> None:
    pause = np.zeros((4 * 8000, 1), "float32")
    audio = np.concatenate([tone(8, 8000, 1), pause, tone(4, 8000, 2), tone(2.5, 8000, 3)])
    soundfile.write(tmp_path / "long.wav", audio, 8000)
    soundfile.write(tmp_path / "rest.wav", audio[: round(8.9 * 8000)], 8000)
    write_tone(tmp_path / "short.wav", 0.7, 8000, seed=5)
    (added,) = rows("exemplars", "add", "mine", tmp_path, "--window", "4")
    # long: two windows, a silent one, one, and a rest of 2.5 s; rest: two, as 0.9 s are left out; short: one.
    assert (added["windows"], added["silent_windows"], added["hours"]) == (7, 1, pytest.approx((18.5 + 8 + 0.7) / 3600))
    cut = list(windows(Source(tmp_path / "long.wav"), 4.0))
    assert [(window.start, len(window.audio), window.silent) for window in cut] == [
        (0.0, 32_000, False),
        (4.0, 32_000, False),
        (8.0, 32_000, True),
        (12.0, 32_000, False),
        (16.0, 20_000, False),
    ]
    whole = torch.from_numpy(soundfile.read(tmp_path / "long.wav", dtype="float32")[0])
    assert torch.equal(torch.cat([window.audio for window in cut]), whole)
    encoder = hearing("chroma")
    parts = [resample(window.audio, 8000, 16_000) for window in cut if not window.silent]
    rows("exemplars", "remove", "mine", tmp_path / "rest.wav", tmp_path / "short.wav")
    expected = Gaussian.fit(torch.cat([encoder.encode_audio(part[None])[0] for part in parts]))
    assert_near(reference("mine", "chroma"), expected)


def test_whole_files_share_the_cache_of_score(music: Path, rows: Rows) -> None:
    rows("score", "vendi:chroma", music)
    kept = len(open_cache().entries())  # type: ignore[union-attr]
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    assert len(open_cache().entries()) == kept == 4  # type: ignore[union-attr]


def test_bad_files_are_listed_together_and_skipped_when_told_to(music: Path, dragon: Dragon, refused: Refused) -> None:
    (music / "text.wav").write_text("not audio")
    (music / "empty.flac").write_bytes(b"")
    soundfile.write(music / "nothing.wav", np.zeros((0, 1)), 8000)
    soundfile.write(music / "silent.wav", np.zeros(8000), 8000)
    soundfile.write(music / "nan.wav", np.full(8000, np.nan), 8000, subtype="FLOAT")
    soundfile.write(music / "copy.wav", *soundfile.read(music / "a.wav"))
    bad = {"text.wav", "empty.flac", "nothing.wav", "silent.wav", "nan.wav"}
    refusal = refused("exemplars", "add", "mine", music, "--encoder", "chroma")
    assert "--skip-bad" in refusal
    assert "encoding" not in refusal
    assert {name for name in bad if name in refusal} == bad
    assert "a.wav" not in refusal
    assert dragon("exemplars", "list").stdout == ""
    result = dragon("exemplars", "add", "mine", music, "--skip-bad", "--json")
    (added,) = json.loads(result.stdout)
    assert (added["added"], added["already_there"]) == (4, 1)
    assert {name for name in bad if name in result.stderr} == bad


def test_nothing_usable_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "bad" / "sub").mkdir(parents=True)
    assert "holds no audio" in refused("exemplars", "add", "mine", tmp_path / "bad")
    assert "gone' does not exist" in refused("exemplars", "add", "mine", tmp_path / "gone")
    assert "name the files or folders" in refused("exemplars", "add", "mine")
    (tmp_path / "bad" / "x.wav").write_text("x")
    assert "nothing would be left" in refused("exemplars", "add", "mine", tmp_path / "bad", "--skip-bad")


def test_check_finds_what_is_missing_changed_and_stale(music: Path, rows: Rows, dragon: Dragon, tmp_path: Path) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    assert rows("exemplars", "check", "mine") == []
    (music / "a.wav").unlink()
    write_tone(music / "b.flac", 2, seed=9)
    rows("exemplars", "add", "mine", write_tone(tmp_path / "new.wav", 2, seed=8))
    result = dragon("exemplars", "check", "mine", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == [
        {"what": str(music / "a.wav"), "fault": "missing"},
        {"what": str(music / "b.flac"), "fault": "changed"},
        {"what": "chroma", "fault": "stale: lacks 1 file and has 0 too many"},
    ]
    assert "'mine' has 3 faults" in result.stderr


def test_audio_that_is_gone_or_changed_is_named_before_anything_is_encoded(
    music: Path, rows: Rows, refused: Refused
) -> None:
    rows("exemplars", "add", "mine", music)
    (music / "deep" / "d.mp3").unlink()
    write_tone(music / "b.flac", 2, seed=9)
    refusal = refused("score", "per-song-fad:chroma@mine", music)
    assert "d.mp3: missing" in refusal
    assert "b.flac: changed" in refusal
    assert "encoding" not in refusal


def test_a_changed_file_replaces_its_old_self_and_a_moved_one_is_found(music: Path, rows: Rows, tmp_path: Path) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    write_tone(music / "b.flac", 2, seed=9)
    (changed,) = rows("exemplars", "add", "mine", music)
    assert (changed["added"], changed["replaced"], changed["examples"]) == (1, 1, 4)
    assert_near(reference("mine", "chroma"), of_files("chroma", *files_of(music)))
    music.rename(tmp_path / "moved")
    (moved,) = rows("exemplars", "add", "mine", tmp_path / "moved")
    assert (moved["added"], moved["already_there"], moved["replaced"]) == (0, 4, 0)
    assert rows("exemplars", "check", "mine") == []


def test_another_identity_makes_the_statistics_anew(
    music: Path, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    rows("exemplars", "add", "mine", music, "--encoder", "chroma")
    before = reference("mine", "chroma")
    assert capsys.readouterr().err == ""
    load_registry.cache_clear()
    load_registry().build_encoder("chroma").identity = "another"
    load_registry().reference("mine", "chroma", CPU)
    assert capsys.readouterr().err == "mine: encoding 4 files with 'chroma'\n"
    after = reference("mine", "chroma")
    assert capsys.readouterr().err == "mine: encoding 4 files with 'chroma'\n"
    assert torch.equal(after.covariance, before.covariance)
