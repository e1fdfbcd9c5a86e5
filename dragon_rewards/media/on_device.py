"""Put what was read from files on the device where it is encoded, as clips or as images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.compute.devices import is_out_of_memory
from dragon_rewards.errors import DeviceError
from dragon_rewards.media.clips import clips_on
from dragon_rewards.media.images import Images
from dragon_rewards.protocols import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.media.encodable import Encodable


def examples_on(
    medium: Modality,
    device: torch.device,
    examples: Sequence[Tensor],
    rate: int,
    names: Sequence[str],
    prompts: Sequence[str] | None,
    cache: EmbeddingCache | None,
) -> Encodable:
    """Make a set of examples from files on a device, as `clips_on` or `images_on` does.

    Args:
        medium: whether they are audio or images.
        device: where they are to be.
        examples: the samples of each clip, (samples,), or the pixels of each image, (3, height, width).
        rate: the sample rate of all clips in Hz; nothing to images.
        names: one name per example.
        prompts: one text per example, or None.
        cache: where embeddings are stored, or None.

    Raises:
        DragonError: no reward can judge an example, or the memory of the device is too small.
    """
    if medium is Modality.IMAGE:
        return images_on(device, examples, names, prompts, cache)
    return clips_on(device, examples, rate, names, prompts, cache)


def images_on(
    device: torch.device,
    images: Sequence[Tensor],
    names: Sequence[str],
    prompts: Sequence[str] | None,
    cache: EmbeddingCache | None,
) -> Images:
    """Make a set of images (3, height, width) on a device.

    Raises:
        ImageError: no reward can judge an image.
        DeviceError: the memory of the device is too small.
    """
    try:
        return Images([image.to(device) for image in images], prompts, names, cache)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(
            f"'{names[0]}' does not fit into the memory of {device}, with {len(names) - 1} more images ({error}); end "
            "what else uses the device, or choose another, as --device cpu does"
        ) from error
