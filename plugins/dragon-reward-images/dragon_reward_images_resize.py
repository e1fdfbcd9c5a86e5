"""Ways to resize images that carry gradients: as Pillow's bicubic filter does it, and as TensorFlow 1 does it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def bicubic(images: Tensor, size: int) -> Tensor:
    """Resize images (images, 3, height, width) in [0, 1] to (images, 3, size, size), whatever their shape, as Pillow.

    As there, the filter is wide enough to average what it shrinks, and each pass is clipped; the width comes first, as
    in Pillow before 13, which takes the height first where that shrinks more. Pillow also rounds each pass to whole
    levels, which has no slope and is not done.
    """
    wide = interpolate(images, (images.shape[-2], size), mode="bicubic", antialias=True).clamp(0, 1)
    return interpolate(wide, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def bilinear_of_tensorflow(images: Tensor, size: int) -> Tensor:
    """Resize images (images, channels, height, width) to (images, channels, size, size), as TensorFlow 1 does.

    Pixel i lies at i times the old size over the new one, so that corners do not correspond, and between two pixels
    values run straight; nothing is averaged where an image shrinks. FID is defined with it.

    >>> bilinear_of_tensorflow(torch.tensor([[[[0.0, 4.0], [0.0, 4.0]]]]), 4)[0, 0, 0]
    tensor([0., 2., 4., 4.])
    """
    return _straight(_straight(images, size, 3), size, 2)


def _straight(images: Tensor, size: int, axis: int) -> Tensor:
    length = images.shape[axis]
    places = torch.arange(size, dtype=torch.float32, device=images.device) * (length / size)
    low = places.long()
    shares = (places - low).reshape([-1 if each == axis else 1 for each in range(images.ndim)])
    first = images.index_select(axis, low)
    second = images.index_select(axis, (low + 1).clamp_max(length - 1))
    return first + (second - first) * shares
