"""What tells audio from images where they come from files: which of them encoders take, and where files of it are.

Like the search for audio this imports no decoder.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dragon_rewards.errors import AudioError, ComposeError, ImageError
from dragon_rewards.media.discovery import find_audio, listed_names, visible_files
from dragon_rewards.protocols import Modality
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dragon_rewards.protocols import EncoderInfo

IMAGE_FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "WEBP": (".webp",)}  # Pillow's names, and suffixes
IMAGE_SUFFIXES = frozenset(suffix for suffixes in IMAGE_FORMATS.values() for suffix in suffixes)
UNREAD_IMAGES = frozenset(
    {
        *(".gif", ".bmp", ".tif", ".tiff", ".jfif", ".jpe", ".jp2", ".jxl", ".avif", ".heic", ".heif"),
        *(".tga", ".ppm", ".exr", ".psd", ".svg", ".ico", ".dng", ".cr2", ".nef", ".arw"),
    }
)  # of images in other formats
USUAL_IMAGES = "PNG, JPEG or WebP"


def medium_of(encoders: Iterable[EncoderInfo]) -> Modality:
    """Return the medium of the files that all of these encoders are given: images, or audio.

    An encoder of both is given audio.

    Raises:
        ComposeError: some take images, and others audio.
    """
    media = {each.name: Modality.IMAGE if _sees(each) else Modality.AUDIO for each in encoders}
    if len(set(media.values())) > 1:
        said = ", ".join(f"'{name}' takes {medium}" for name, medium in media.items())
        raise ComposeError(f"encoders of audio and of images do not judge the same files ({said}); name one kind alone")
    return next(iter(media.values()), Modality.AUDIO)


def _sees(encoder: EncoderInfo) -> bool:
    return Modality.IMAGE in encoder.modalities and Modality.AUDIO not in encoder.modalities


def find_media(paths: Sequence[Path], encoders: Sequence[EncoderInfo]) -> list[Path]:
    """Return the files that paths name and encoders take: files as they are given, folders as all of it below them.

    Without encoders it is audio.

    Raises:
        AudioError: a path does not exist, or the encoders take audio and a folder holds none.
        ImageError: the encoders take images, and a folder holds none.
        ComposeError: some take images, and others audio.
    """
    medium = medium_of(encoders)
    try:
        return find_audio(paths) if medium is Modality.AUDIO else find_images(paths)
    except ImageError as error:
        raise ImageError(f"{error}, or name an encoder that hears audio ({_said(encoders)})") from error
    except AudioError as error:
        if medium is Modality.IMAGE or not any(path.is_dir() and _has_images(path) for path in paths):
            raise
        raise AudioError(f"{error}, or name an encoder of images ({_said(encoders)})") from error


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in visible_files(folder))


def _said(encoders: Iterable[EncoderInfo]) -> str:
    return ", ".join(f"'{each.name}' embeds {' and '.join(sorted(each.modalities))}" for each in encoders)


def images_below(folder: Path) -> list[Path]:
    """Return all images below a folder, in sorted order; the suffix decides what is an image.

    Images in other formats are named on stderr.

    Raises:
        AudioError: the folder does not exist, or it or a folder below it cannot be read.
    """
    return images_among(visible_files(folder))


def images_among(files: Iterable[Path]) -> list[Path]:
    """Return the images among the files of a folder, and name images in other formats on stderr."""
    taken: list[Path] = []
    left: list[Path] = []
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES | UNREAD_IMAGES and path.is_file():
            (taken if path.suffix.lower() in IMAGE_SUFFIXES else left).append(path)
    if taken and left:
        sys.stderr.write(
            f"left out, as they are neither {USUAL_IMAGES}: {counted(len(left), 'file')}: {listed_names(left)}; to use "
            "them, convert them to PNG\n"
        )
    return taken


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Return the images that paths name: files as they are given, folders as all images below them, in sorted order.

    A file that is named twice counts once. Images in other formats are named on stderr.

    Raises:
        ImageError: a folder holds no images.
        AudioError: a path does not exist.
    """
    found: dict[str, Path] = {}
    for path in paths:
        files = [path] if path.is_file() else images_below(path)
        if not files:
            raise ImageError(f"the folder '{path}' holds no images; give one with {USUAL_IMAGES} files")
        for file in files:
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())
