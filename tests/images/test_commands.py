"""`dragon score`, `rank` and `compare` judge files of images by an encoder of images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.cli import Refused, Rows
from support.sounds import write_tone

from dragon_rewards import Images, compose
from dragon_rewards.media.image_files import read_image
from dragon_rewards.media.kinds import find_images
from dragon_rewards.testing.images import pictures

from .conftest import save


def test_a_set_of_images_is_scored_as_in_python_and_again_from_the_cache(rows: Rows, photos: Path) -> None:
    [first], [again] = rows("score", "vendi:eye", photos), rows("score", "vendi:eye", photos)
    expected = compose("vendi:eye").metric(Images([read_image(path) for path in find_images([photos])]))
    assert first == again
    assert first["clips"] == 6
    assert first["value"] == pytest.approx(float(expected), rel=1e-6)


def test_each_image_is_scored_against_its_prompt(rows: Rows, coloured: Path) -> None:
    found = rows("score", "clap-score:eye", coloured)
    assert [Path(row["path"]).stem for row in found] == ["blue", "green", "red"]
    assert [row["value"] for row in found] == pytest.approx([1, 1, 1])
    (coloured / "red.txt").write_text("blue")
    assert [row["value"] for row in rows("score", "clap-score:eye", coloured)] == pytest.approx([1, 1, 0])


def test_images_are_ranked(rows: Rows, coloured: Path) -> None:
    (coloured / "green.txt").write_text("red")
    ranked = rows("rank", coloured, "--reward", "clap-score:eye")
    assert Path(ranked[-1]["path"]).stem == "green"
    assert {row["of"] for row in rows("rank", coloured, "--reward", "vendi:eye")} == {"leave-one-out"}


def test_a_bad_image_is_refused_by_name_or_left_out(rows: Rows, refused: Refused, photos: Path) -> None:
    (photos / "bad.png").write_bytes((photos / "a.png").read_bytes()[:60])
    assert "bad.png' cannot be read as an image" in refused("score", "vendi:eye", photos)
    [row] = rows("score", "vendi:eye", photos, "--skip-bad")
    assert row["clips"] == 6


def test_another_medium_is_refused(refused: Refused, photos: Path, tmp_path: Path) -> None:
    write_tone(tmp_path / "music" / "a.wav", 1.0, 16_000, seed=1)
    assert "music' holds no images" in refused("score", "vendi:eye", tmp_path / "music")
    assert "a.wav' cannot be read as an image" in refused("score", "vendi:eye", tmp_path / "music" / "a.wav", photos)
    said = refused("score", "vendi:logmel", photos)
    assert "photos' holds no audio" in said
    assert "'logmel' embeds audio" in said


def test_two_folders_of_images_are_compared(rows: Rows, refused: Refused, tmp_path: Path) -> None:
    for number in range(8):
        plain = torch.full((3, 16, 16), 0.1 + number / 100)
        save(tmp_path / "plain" / f"{number}.png", plain)
        save(tmp_path / "varied" / f"{number}.png", pictures(8, 16, 16)[number])
    rewards = ("--rewards", "vendi:eye", "--rewards", "per-song-fad:eye@varied")
    rows("exemplars", "add", "varied", tmp_path / "varied")
    vendi, nearer = rows("compare", tmp_path / "plain", tmp_path / "varied", *rewards)
    assert (vendi["win_rate"], vendi["compared"]) == (1, "sets of 2, by name")
    assert nearer["win_rate"] > 0.5
    assert nearer["controlled"] is None
    assert "duration_a" not in vendi
    both = refused("compare", tmp_path / "plain", tmp_path / "varied", *rewards, "--rewards", "vendi:logmel")
    assert "encoders of audio and of images do not judge the same files" in both
