"""`dragon exemplars` makes sets of images, which rewards of encoders of images compare with."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.cli import Dragon, Refused, Rows
from support.sounds import write_tone

from dragon_rewards.testing.images import pictures

from .conftest import save


def test_a_folder_of_images_becomes_a_set_at_distance_0_from_itself(rows: Rows, photos: Path) -> None:
    [added] = rows("exemplars", "add", "mine", photos, "--encoder", "eye")
    assert (added["added"], added["examples"], added["hours"], added["encoders"]) == (6, 6, None, ["eye"])
    [listed] = rows("exemplars", "list")
    assert (listed["name"], listed["modality"]) == ("mine", "image")
    [distance] = rows("score", "dataset-fad:eye@mine", photos)
    assert distance["value"] == pytest.approx(0, abs=1e-5)
    [kernel], [coverage] = (rows("score", f"{name}:eye@mine", photos) for name in ("mmd", "coverage"))
    assert kernel["value"] < 0  # unbiased, of equal sets
    assert coverage["value"] == 1
    assert len(rows("score", "per-song-fad:eye@mine", photos)) == 6


def test_statistics_follow_when_images_come_and_go(rows: Rows, photos: Path) -> None:
    rows("exemplars", "add", "mine", photos, "--encoder", "eye")
    further = save(photos / "g.png", pictures(4, 40, 30, seed=9)[0])
    [added] = rows("exemplars", "add", "mine", photos, "--encoder", "eye")
    assert (added["added"], added["already_there"]) == (1, 6)
    rows("exemplars", "add", "whole", photos)
    values = [rows("score", f"dataset-fad:eye@{name}", photos / "deep")[0]["value"] for name in ("mine", "whole")]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    rows("exemplars", "remove", "mine", further)
    [without] = rows("score", "dataset-fad:eye@mine", photos / "deep")
    assert without["value"] != pytest.approx(values[0], rel=1e-3)


def test_covers_in_a_folder_of_music_are_no_examples(rows: Rows, photos: Path) -> None:
    write_tone(photos / "track.wav", 2.0, 16_000, seed=1)
    [added] = rows("exemplars", "add", "mine", photos)
    assert added["examples"] == 1
    assert rows("exemplars", "list")[0]["modality"] == "audio"


def test_kinds_are_not_mixed_and_what_is_bad_is_named(
    refused: Refused, rows: Rows, photos: Path, tmp_path: Path
) -> None:
    write_tone(tmp_path / "music" / "a.wav", 2.0, 16_000, seed=1)
    assert "both audio and images" in refused("exemplars", "add", "mine", photos, tmp_path / "music")
    rows("exemplars", "add", "mine", photos)
    assert "'mine' is image, and this is audio" in refused("exemplars", "add", "mine", tmp_path / "music")
    assert "'mine' is image, and encoder 'logmel' embeds audio" in refused("score", "dataset-fad:logmel@mine", photos)
    assert "which encoder 'logmel' does not embed" in refused("exemplars", "add", "mine", "--encoder", "logmel")
    (photos / "bad.png").write_text("no image")
    assert "bad.png' cannot be read as an image" in refused("exemplars", "add", "mine", photos)
    [added] = rows("exemplars", "add", "mine", photos, "--skip-bad")
    assert added["examples"] == 6


def test_an_image_that_is_gone_is_named(dragon: Dragon, refused: Refused, rows: Rows, photos: Path) -> None:
    rows("exemplars", "add", "mine", photos)
    (photos / "a.png").unlink()
    said = refused("score", "dataset-fad:eye@mine", photos)
    assert "files that it takes to make them are not there" in said
    assert "a.png: missing" in said
    checked = dragon("exemplars", "check", "mine", "--wide")
    assert checked.exit_code == 2
    assert "a.png" in checked.stdout


def test_a_set_of_images_is_shared_without_them(rows: Rows, refused: Refused, photos: Path, tmp_path: Path) -> None:
    rows("exemplars", "add", "mine", photos, "--encoder", "eye")
    rows("exemplars", "export", "mine", tmp_path / "mine.set")
    [imported] = rows("exemplars", "import", tmp_path / "mine.set", "--name", "theirs")
    assert (imported["examples"], imported["encoders"]) == (6, ["eye"])
    here, there = (rows("score", f"dataset-fad:eye@{name}", photos / "deep")[0]["value"] for name in ("mine", "theirs"))
    assert here == there
    assert "embedding of each example" in refused("score", "mmd:eye@theirs", photos)
