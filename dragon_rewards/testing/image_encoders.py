"""The checks of what an encoder of images promises beyond what `towers` and `text_towers` check of every encoder."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dragon_rewards.errors import EncoderError, ImageError
from dragon_rewards.media.images import Images
from dragon_rewards.protocols import Modality
from dragon_rewards.testing.images import pictures
from dragon_rewards.testing.require import require, require_equal
from dragon_rewards.testing.towers import (
    TowerCase,
    require_distinct,
    require_facts,
    require_finite,
    require_frames,
    require_positive,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

HEIGHT, WIDTH = 128, 96
ODD = ((1, 1), (5, 7), (3, 200), (97, 61), (301, 17))  # height, width


class ImageCase(TowerCase):
    """An encoder of images, and what its checks share."""

    modality, method, media, noun = Modality.IMAGE, "encode_image", "image", "image"

    @property
    def batch(self) -> Tensor:
        """Four images, (4, 3, height, width), of one size."""
        return pictures(4, HEIGHT, WIDTH)

    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Return the frames (frames, dim) of `count` images, as rewards get them; another seed gives other images."""
        return self.through_images(list(pictures(count, HEIGHT, WIDTH, seed)))

    def through_images(self, images: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the frames (frames, dim) of each image, as rewards get them."""
        return Images(images).embeddings(self.info, self.encoder).frames


prepare = lru_cache(maxsize=1)(ImageCase)  # the checks of an encoder, run one after the other, share its frames


def facts(case: ImageCase) -> None:
    """Check that the descriptor's facts are of the right type; only an encoder that hears, too, has a sample rate."""
    require_positive(case, "dim")
    hears, rate = Modality.AUDIO in case.info.modalities, case.info.sample_rate
    require(hears or rate == 0, "sample_rate 0 for an encoder that hears no audio", repr(rate), "set it to 0")
    require_facts(case)


def size_independent(case: ImageCase) -> None:
    """Check that an image among images of other sizes gives the frames that it has alone."""
    sizes = [(HEIGHT, WIDTH), (HEIGHT - 31, WIDTH - 17), (HEIGHT + 31, 2 * WIDTH)]  # portrait, portrait, landscape
    images = [pictures(3, *size)[number] for number, size in enumerate(sizes)]
    for image, found in zip(images, case.through_images(images), strict=True):
        promised = "frames that do not depend on other images' sizes"
        require_equal(found, case.through_images([image])[0], promised, "resize by the image itself; keep no state")


def distinct_images(case: ImageCase) -> None:
    """Check that stripes, a gradient and noise do not give the same frames."""
    require_distinct(case, "image")


def odd_sizes(case: ImageCase) -> None:
    """Check that images from one pixel to a strip give finite frames, none, or a refusal."""
    for height, width in ODD:
        try:
            found = case.encode(pictures(1, height, width))
        except (RuntimeError, ImageError, EncoderError):  # what `Images` reports as a refusal
            continue
        require_frames(found, case, count=1, least=0)
        require_finite(found, f"frames of {width} x {height} pixels", "return no frames below the least size")
