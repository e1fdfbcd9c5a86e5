"""Batches of examples of one shape: as large as suits the device, and smaller where its memory has run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.compute.devices import device_memory, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor

BATCH = 32  # examples at once on an accelerator: more hardly save time, and would depend on how much memory is free
CPU_BATCH = 8  # with more, activations between layers no longer fit the caches: `vae` takes 1.3 times as long
CPU_VALUES = 2**22  # for the same reason: eight clips of three minutes at once take `logmel` 4.6 times as long as alone
ACTIVATIONS = 512  # bytes of activations for each byte of an example: four layers of 128 channels, as in an autoencoder


def first_batch(example: Tensor, device: torch.device) -> int:
    """Return how many examples of this shape to try at once on a device, at least one.

    On the CPU that is as many as its caches hold. On an accelerator it is as many as half of the free memory holds by a
    rough estimate; the other half is left to other users of the device. A wrong estimate costs one attempt, see
    `in_batches`.

    Args:
        example: an example of the shape that the batch will have.
        device: where the batch will be encoded.
    """
    if device.type == "cpu":
        return max(1, min(CPU_BATCH, CPU_VALUES // example.numel()))
    memory = device_memory(device)
    return BATCH if memory is None else max(1, min(BATCH, memory.free // 2 // (ACTIVATIONS * example.nbytes)))


def in_batches(
    examples: Mapping[int, Tensor], encode: Callable[[list[int]], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Encode examples in batches of equal shape, the smallest shapes first, and yield rows with what `encode` returned.

    If memory runs out, the batch is halved and tried again, and later batches are no larger; batches that are done are
    kept.

    Args:
        examples: row -> example.
        encode: encodes the examples at the given rows, and returns a tensor with one entry for each.

    Raises:
        torch.OutOfMemoryError: a single example is too large. Other errors of `encode` pass unchanged.
    """
    limit = BATCH
    shapes = {example.shape for example in examples.values()}
    for shape in sorted(shapes, key=lambda shape: (shape[1:], shape)):  # by length or size first, then by channels
        waiting = [row for row, example in examples.items() if example.shape == shape]
        first = examples[waiting[0]]
        limit = min(limit, first_batch(first, first.device))
        while waiting:
            rows = waiting[:limit]
            try:
                encoded = encode(rows)
            except (RuntimeError, MemoryError) as error:
                if len(rows) == 1 or not is_out_of_memory(error):
                    raise
                limit = len(rows) // 2
            else:
                yield rows, encoded
                del waiting[: len(rows)]
