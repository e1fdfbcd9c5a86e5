"""Batches of examples of one shape: as many together as suit the device, and fewer where its memory ran out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.devices import device_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

BATCH = 32  # examples at once on an accelerator; more hardly saves time, and fewer depend on what memory is free
CPU_BATCH = 8  # with more, what lies between two layers falls out of the caches: `vae` takes 1.3 times as long
ACTIVATIONS = (
    512  # bytes for each of an example: four layers of 128 channels, the first ones of an autoencoder, at once
)


def largest_batch(device: torch.device) -> int:
    """The most examples that are encoded at once on a device."""
    return CPU_BATCH if device.type == "cpu" else BATCH


def first_batch(example: Tensor) -> int:
    """Examples like this one that are tried at once: what half of the free memory takes by a rough count, at least one.

    The other half is left to what shares the device. A wrong guess costs an attempt: see `in_batches`.
    """
    most, memory = largest_batch(example.device), device_memory(example.device)
    return most if memory is None else max(1, min(most, memory.free // 2 // (ACTIVATIONS * example.nbytes)))


def alike(examples: Mapping[int, Tensor]) -> Iterator[list[int]]:
    """Rows of equal shape, the smallest first: by length or size, then by channels."""
    for shape in sorted({example.shape for example in examples.values()}, key=lambda shape: (shape[1:], shape)):
        yield [row for row, example in examples.items() if example.shape == shape]


def batches(examples: Mapping[int, Tensor]) -> Iterator[list[int]]:
    """Rows of equal shape, no more at once than are ever encoded."""
    for rows in alike(examples):
        most = largest_batch(examples[rows[0]].device)
        yield from (rows[start : start + most] for start in range(0, len(rows), most))


def in_batches(
    examples: Mapping[int, Tensor], encode: Callable[[list[int]], Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Rows of equal shape and what `encode` makes of them, the smallest first.

    Where memory runs out, the batch is halved and tried again, and later ones are no larger; what was encoded stays.

    Raises:
        torch.OutOfMemoryError: a single example is too large. And what else `encode` raises.
    """
    limit = BATCH
    for waiting in alike(examples):
        limit = min(limit, first_batch(examples[waiting[0]]))
        while waiting:
            rows = waiting[:limit]
            try:
                encoded = encode(rows)
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                limit = len(rows) // 2
            else:
                yield rows, encoded
                del waiting[: len(rows)]
