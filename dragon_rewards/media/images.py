"""Sets of images that image encoders embed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import ImageError
from dragon_rewards.media.encodable import Encodable
from dragon_rewards.protocols import ImageEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.protocols import Encoder, EncoderInfo


class Images(Encodable):
    """A set of RGB images, with their prompts and names.

    Attributes:
        media: per image a float32 tensor (3, height, width) in [0, 1]; images may differ in size.
        prompts: one text per image, or None.
        names: one name per image, which error messages use.
        known: the embeddings computed so far.
        cache: where embeddings are looked up before they are computed, and stored after; None for images that are new.

    Example:
        >>> import torch
        >>> images = Images(torch.rand(2, 3, 64, 48), prompts=["a red house", "a boat"])
        >>> len(images), images.names
        (2, ('image 0', 'image 1'))
    """

    noun = "image"
    refusal = ImageError

    def __init__(
        self,
        images: Tensor | Sequence[Tensor],
        prompts: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        """Take images (images, 3, height, width), or a sequence of images (3, height, width).

        Raises:
            ImageError: there are no images; an image has another shape or type, is empty, or holds values that are not
                finite or outside [0, 1]; or the count of prompts or of names is not the count of images.
        """
        super().__init__(images, 0, prompts, names, cache)

    def _laid_out(self, example: Tensor, name: str) -> Tensor:
        if not example.is_floating_point() or example.ndim != 3 or len(example) != 3:  # noqa: PLR2004  RGB, height, width
            got = f"{example.dtype} {tuple(example.shape)}"
            raise ImageError(f"'{name}' is {got}; give floating point images (3, height, width)")
        if not example.numel():
            raise ImageError(f"'{name}' holds no pixels; remove it or generate it again")
        return example.float()

    def _extremes(self, batch: Tensor) -> Tensor:
        pixels = batch.flatten(1)
        return torch.stack([pixels.amin(1), pixels.amax(1)], dim=1)

    def _check_values(self, extremes: tuple[float, float], name: str) -> None:
        least, most = extremes
        if not (least >= 0 and most <= 1):
            raise ImageError(f"'{name}' holds values from {least:.3g} to {most:.3g}; scale or clamp them to [0, 1]")

    def _tower(self, encoder: Encoder) -> Callable[[Tensor], Tensor] | None:
        return encoder.encode_image if isinstance(encoder, ImageEncoder) else None

    def _fed(self, batch: Tensor, info: EncoderInfo) -> Tensor:  # noqa: ARG002  encoders resize by themselves
        return batch

    def _size(self, fed: Tensor, info: EncoderInfo) -> str:  # noqa: ARG002  in pixels of the image itself
        return self._extent(fed)

    def _extent(self, example: Tensor) -> str:
        return f"{example.shape[2]} x {example.shape[1]} pixels"
