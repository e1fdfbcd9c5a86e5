"""Images are found by their suffix and read as they are seen."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dragon_rewards.errors import AudioError, ComposeError, ImageError
from dragon_rewards.media.image_files import read_image
from dragon_rewards.media.kinds import find_images, find_media, medium_of
from dragon_rewards.protocols import EncoderInfo, Modality
from dragon_rewards.testing.images import pictures

from .conftest import save


def test_images_below_a_folder_are_found_once_each_and_nothing_else(photos: Path) -> None:
    (photos / "notes.txt").write_text("a note")
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "link.png").symlink_to(photos / "a.png")
    found = [path.relative_to(photos).as_posix() for path in find_images([photos / "c.jpg", photos])]
    assert found == ["c.jpg", "a.png", "b.png", "deep/d.jpeg", "deep/e.webp", "deep/f.PNG"]
    with pytest.raises(AudioError, match=r"gone' does not exist"):
        find_images([photos / "gone"])


def test_images_in_other_formats_are_named(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = find_images([photos])
    assert not capsys.readouterr().err
    for name in ("x.HEIC", "deep/y.tif"):
        (photos / name).touch()
    assert find_images([photos]) == usual
    named = f"2 files: {photos / 'deep' / 'y.tif'}, {photos / 'x.HEIC'}; to use them, convert them to PNG"
    assert named in capsys.readouterr().err


def test_a_png_is_read_to_the_bit_from_a_path_and_from_bytes(tmp_path: Path) -> None:
    pixels = (pictures(3, 5, 7)[2] * 255).round() / 255
    path = save(tmp_path / "a.png", pixels)
    assert torch.equal(read_image(path), pixels)
    assert torch.equal(read_image(io.BytesIO(path.read_bytes()), "a"), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 6), (255, 255, 255)).convert(mode).save(path)
    assert torch.equal(read_image(path), torch.ones(3, 6, 4))


def test_grey_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    shades = np.arange(0, 2**16, 257, dtype=np.uint16).reshape(2, 128)  # those that 8 bits have
    Image.fromarray(shades).save(tmp_path / "deep.png")
    Image.fromarray((shades // 257).astype(np.uint8)).save(tmp_path / "usual.png")
    torch.testing.assert_close(read_image(tmp_path / "deep.png"), read_image(tmp_path / "usual.png"))


def test_a_photo_that_a_camera_turned_is_read_upright(tmp_path: Path) -> None:
    levels = np.zeros((4, 6, 3), np.uint8)
    levels[0] = 255  # the top row, which a camera that was turned stores as such
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the file is the right side of the scene
    Image.fromarray(levels).save(tmp_path / "a.png", exif=exif)
    read = read_image(tmp_path / "a.png")
    assert read.shape == (3, 6, 4)
    assert torch.equal(read[0, :, -1], torch.ones(6))
    assert read.sum() == 3 * 6


def test_a_photo_with_damaged_exif_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a text"
    Image.new("RGB", (4, 6)).save(tmp_path / "a.jpg", exif=exif)
    whole = (tmp_path / "a.jpg").read_bytes()
    described, wide = b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02"  # a description, and a width, which is no text
    assert described in whole
    (tmp_path / "a.jpg").write_bytes(whole.replace(described, wide))
    with pytest.raises(ImageError, match=r"a\.jpg' cannot be read as an image \(.*\); give PNG, JPEG or WebP"):
        read_image(tmp_path / "a.jpg")


def test_what_is_no_whole_image_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", pictures(3, 64, 64)[2]).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    Image.new("RGB", (4, 4)).save(tmp_path / "other.bmp")
    for name in ("cut.jpg", "text.png", "other.bmp"):
        with pytest.raises(ImageError, match=f"{name}' cannot be read as an image .*; give PNG, JPEG or WebP"):
            read_image(tmp_path / name)
    with pytest.raises(ImageError, match=r"gone\.png' is not a file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"\xff.png"))
    save(path, torch.ones(3, 2, 2))
    assert torch.equal(read_image(find_images([tmp_path])[0]), torch.ones(3, 2, 2))


class Unbuilt:
    identity = "never built"


def info(name: str, *modalities: Modality) -> EncoderInfo:
    return EncoderInfo(name, frozenset(modalities), 3, 0, "MIT", "a test's", Unbuilt)


def test_encoders_of_two_media_do_not_judge_one_set() -> None:
    eye, ear, both = info("eye", Modality.IMAGE), info("ear", Modality.AUDIO), info("both", *Modality)
    assert medium_of([eye]) is Modality.IMAGE
    assert medium_of([ear, both]) is medium_of([]) is Modality.AUDIO
    with pytest.raises(ComposeError, match="'ear' takes audio, 'eye' takes image"):
        medium_of([ear, eye])


def test_a_folder_of_another_medium_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"empty' holds no images; .*hears audio \('eye' embeds image\)"):
        find_media([tmp_path / "empty"], [info("eye", Modality.IMAGE)])
    with pytest.raises(AudioError, match=r"photos' holds no audio; .*an encoder of images \('ear' embeds audio\)"):
        find_media([photos], [info("ear", Modality.AUDIO)])
    with pytest.raises(AudioError, match=r"holds no audio; give one with [^(]* files$"):
        find_media([tmp_path / "empty"], [info("ear", Modality.AUDIO)])
