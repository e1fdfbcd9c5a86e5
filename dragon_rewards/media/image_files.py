"""Read image files as RGB, turned as their EXIF says."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps

from dragon_rewards.errors import ImageError
from dragon_rewards.media.kinds import IMAGE_FORMATS, USUAL_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

WHITE = 2**16 - 1  # of grey of 16 bits


def read_image(file: Path | BinaryIO, name: str | None = None) -> Tensor:
    """Read an image as float32 RGB values from 0 to 1, (3, height, width).

    Args:
        file: a path, or the bytes of a file.
        name: the name of the file in error messages; by default its path.

    Raises:
        ImageError: the file is missing, is no image, or is cut off.
    """
    with opened_image(file, name) as image:
        return pixels_of(image)


def pixels_of(image: Image.Image) -> Tensor:
    """Decode an opened image as `read_image` returns it."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # grey of 16 bits, all of which above 255 `convert` would make white
        return (torch.from_numpy(np.array(upright, np.float32)) / WHITE).expand(3, -1, -1)
    return torch.from_numpy(np.array(upright.convert("RGB"))).permute(2, 0, 1) / 255


@contextmanager
def opened_image(file: Path | BinaryIO, name: str | None = None) -> Iterator[Image.Image]:
    """Open an image to decode it inside the block; of the file only the header is read, which tells its size.

    Args:
        file: a path, or the bytes of a file.
        name: the name of the file in error messages; by default its path.

    Raises:
        ImageError: the file is missing or is no image, or cannot be decoded where it is decoded.
    """
    name = str(file) if name is None else name
    if isinstance(file, Path) and not file.is_file():
        raise ImageError(f"'{name}' is not a file; check the path")
    try:
        with Image.open(file, formats=tuple(IMAGE_FORMATS)) as image:
            yield image
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:  # of damaged files
        raise ImageError(f"'{name}' cannot be read as an image ({error}); give {USUAL_IMAGES}") from error
