"""What an encoder of images promises: as one of audio, but for facts, sizes and what tells examples apart."""

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
    """An encoder that sees."""

    modality, method, media, noun = Modality.IMAGE, "encode_image", "image", "image"

    @property
    def batch(self) -> Tensor:
        """Four images (4, 3, height, width)."""
        return pictures(4, HEIGHT, WIDTH)

    def examples(self, count: int, seed: int) -> Sequence[Tensor]:
        """Of pictures."""
        return self.through_images(list(pictures(count, HEIGHT, WIDTH, seed)))

    def through_images(self, images: Sequence[Tensor]) -> Sequence[Tensor]:
        """Frames of each image, as rewards get them."""
        return Images(images).embeddings(self.info, self.encoder).frames


prepare = lru_cache(maxsize=1)(ImageCase)  # the checks of an encoder, run one after the other, share its frames


def facts(case: ImageCase) -> None:
    """The descriptor's facts are of the right type and not empty; there is a sample rate only if it hears, too."""
    require_positive(case, "dim")
    hears, rate = Modality.AUDIO in case.info.modalities, case.info.sample_rate
    require(hears or rate == 0, "sample_rate 0 for an encoder that hears no audio", repr(rate), "set it to 0")
    require_facts(case)


def size_independent(case: ImageCase) -> None:
    """An image among images of other sizes gives the frames that it has alone."""
    sizes = [(HEIGHT, WIDTH), (HEIGHT - 31, WIDTH - 17), (HEIGHT + 31, 2 * WIDTH)]  # portrait, portrait, landscape
    images = [pictures(3, *size)[number] for number, size in enumerate(sizes)]
    for image, found in zip(images, case.through_images(images), strict=True):
        promised = "frames that do not depend on other images' sizes"
        require_equal(found, case.through_images([image])[0], promised, "resize by the image itself; keep no state")


def distinct_images(case: ImageCase) -> None:
    """Stripes, a gradient and noise do not give the same frames."""
    require_distinct(case, "image")


def odd_sizes(case: ImageCase) -> None:
    """From one pixel to a strip: finite frames, none, or a refusal."""
    for height, width in ODD:
        try:
            found = case.encode(pictures(1, height, width))
        except (RuntimeError, ImageError, EncoderError):  # what `Images` reports as a refusal
            continue
        require_frames(found, case, count=1, least=0)
        require_finite(found, f"frames of {width} x {height} pixels", "return no frames below the least size")
