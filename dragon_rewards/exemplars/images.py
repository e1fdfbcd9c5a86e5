"""The images of a user's exemplar set: each is an example of its own, with nothing to cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.exemplars.audio import content_hash
from dragon_rewards.exemplars.item import Item
from dragon_rewards.media.image_files import read_image

if TYPE_CHECKING:
    from torch import Tensor

    from dragon_rewards.exemplars.sources import Source


def inspect_image(source: Source) -> Item:
    """Read all of a file, and describe it as an example.

    Raises:
        AudioError: the file is missing or cannot be read.
        ImageError: it is no image, or is cut off.
    """
    pixels(source)
    return Item(sha256=content_hash(source), caption=source.caption, path=str(source.path), windows=1)


def pixels(source: Source) -> Tensor:
    """Read an image as float32 RGB values from 0 to 1, (3, height, width); raises as `inspect_image`."""
    with source.open() as stream:
        return read_image(stream, str(source))
