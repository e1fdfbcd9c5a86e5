"""Batches of examples of one shape: as many together as suit the device, and fewer where its memory ran out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.compute.devices import device_memory, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from torch import Tensor

BATCH = 32  # examples at once on an accelerator; more hardly saves time, and fewer depend on what memory is free
CPU_BATCH = 8  # with more, what lies between two layers falls out of the caches: `vae` takes 1.3 times as long
CPU_VALUES = 2**22  # for the same reason: eight clips of three minutes at once take `logmel` 4.6 times as long as alone
ACTIVATIONS = 512  # bytes for each of an example's: four layers of 128 channels at once, as in an autoencoder


def first_batch(example: Tensor, device: torch.device) -> int:
    """Examples like this one that are tried at once on a device, at least one.

    On the CPU as many as its caches bear, elsewhere what half of the free memory takes by a rough count: the other half
    is left to what shares the device. A wrong guess costs an attempt, see `in_batches`.
    """
    if device.type == "cpu":
        return max(1, min(CPU_BATCH, CPU_VALUES // example.numel()))
    memory = device_memory(device)
    return BATCH if memory is None else max(1, min(BATCH, memory.free // 2 // (ACTIVATIONS * example.nbytes)))


def in_batches(
    examples: Mapping[int, Tensor], encode: Callable[[list[int]], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Rows of equal shape and what `encode` makes of them, the smallest first.

    Where memory runs out, the batch is halved and tried again, and later ones are no larger; what was encoded stays.

    Raises:
        torch.OutOfMemoryError: a single example is too large. And what else `encode` raises.
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
