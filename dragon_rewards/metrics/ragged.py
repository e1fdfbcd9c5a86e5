"""Clips whose frames lie one after another, judged in few launches: those of one length together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.metrics.checks import pooled_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

ROOM = 2**24  # float64 values of one array of a batch: 128 MiB


def stacks(
    frames: Tensor, lengths: Sequence[int], made: int = 1, room: int = ROOM
) -> Iterator[tuple[list[int], Tensor]]:
    """Indices of k clips of one length n, and their frames (k, n, ...) out of all (frames, ...), in bounded batches.

    Args:
        frames: of all clips, clip after clip.
        lengths: frames of each clip.
        made: values that will be made of a clip.
        room: values that the clips of a batch may hold or make, whichever is more.
    """
    columns, starts = frames[:1].numel(), torch.tensor([0, *lengths]).cumsum(0)
    for batch in batches_of_equal_length(lengths, lambda length: max(length * columns, made), room):
        if len(batch) == batch[-1] - batch[0] + 1:  # neighbours: a view, where others are gathered
            own = frames[int(starts[batch[0]]) : int(starts[batch[-1] + 1])]
        else:
            places = starts[batch, None] + torch.arange(lengths[batch[0]])
            own = frames[places.flatten().to(frames.device)]
        yield batch, own.unflatten(0, (len(batch), lengths[batch[0]]))


def over_clips(
    function: Callable[[Tensor], Tensor], frames: Tensor, lengths: Sequence[int], made: int = 1, room: int = ROOM
) -> Tensor:
    """What `function` makes of every clip, (clips, ...), from `stacks` (k, n, ...) of clips of one length.

    Example:
        >>> import torch
        >>> frames = torch.tensor([[1.0], [2.0], [4.0]])
        >>> over_clips(lambda clips: clips.sum(1), frames, lengths=[1, 2]).tolist()
        [[1.0], [6.0]]
    """
    found = [(batch, function(stack)) for batch, stack in stacks(frames, lengths, made, room)]
    return in_order([values for _, values in found], [batch for batch, _ in found])


def clip_sums(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Over the frames (frames, ...) of each clip: (clips, ...)."""
    return over_clips(lambda clips: clips.sum(1), frames, lengths)


def clip_means(frames: Sequence[Tensor], dim: int) -> Tensor:
    """The mean frame of each clip, (clips, dim), in float64; a clip that has none is refused by its index."""
    pooled = pooled_clips(frames, dim)
    return over_clips(lambda clips: clips.mean(1), pooled, [len(clip) for clip in frames])


def in_order(values: Sequence[Tensor], batches: Sequence[Sequence[int]]) -> Tensor:
    """Values (k, ...) of each of these batches of clips, in the order of the clips: (clips, ...)."""
    if len(values) == 1:
        return values[0]
    joined, clips = torch.cat(list(values)), [clip for batch in batches for clip in batch]
    if clips == sorted(clips):
        return joined
    return joined[torch.tensor(clips).argsort().to(joined.device)]


def batches_of_equal_length(lengths: Sequence[int], values: Callable[[int], int], room: int) -> Iterator[list[int]]:
    """Indices of clips with equally many frames, in batches of `room` values; a clip of a length takes `values`."""
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for length, indices in by_length.items():
        size = max(1, room // values(length))
        yield from (indices[start : start + size] for start in range(0, len(indices), size))
