"""Clips of different lengths, whose frames lie one after another, are judged in few launches: one per length."""

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
    """Yield the clips in batches of one length: the indices of k clips, and their frames (k, n, ...).

    Args:
        frames: the frames of all clips, (frames, ...), clip after clip.
        lengths: the number of frames of each clip.
        made: how many values will be made of a clip.
        room: how many values the clips of a batch may hold or make, whichever is more.
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
    """Return what `function` makes of every clip, (clips, ...), in the order of the clips.

    Args:
        function: maps a stack (k, n, ...) of clips of one length to values (k, ...).
        frames: the frames of all clips, (frames, ...), clip after clip.
        lengths: the number of frames of each clip.
        made: how many values the function makes of a clip on the way.
        room: how many values the clips of a batch may hold or make, whichever is more.

    Example:
        >>> import torch
        >>> frames = torch.tensor([[1.0], [2.0], [4.0]])
        >>> over_clips(lambda clips: clips.sum(1), frames, lengths=[1, 2]).tolist()
        [[1.0], [6.0]]
    """
    found = [(batch, function(stack)) for batch, stack in stacks(frames, lengths, made, room)]
    return in_order([values for _, values in found], [batch for batch, _ in found])


def clip_sums(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the sum over the frames of each clip, (clips, ...).

    Args:
        frames: the frames of all clips, (frames, ...), clip after clip.
        lengths: the number of frames of each clip.
    """
    return over_clips(lambda clips: clips.sum(1), frames, lengths)


def clip_means(frames: Sequence[Tensor], dim: int) -> Tensor:
    """Return the mean frame of each clip, (clips, dim), in float64.

        mean_c = 1 / n_c sum_i x_ci

    Args:
        frames: per clip a matrix (frames, dim).
        dim: the dimension that all clips must have.

    Raises:
        DragonError: there are no clips, or a clip (named by its index) has no frames, NaN or infinite values, or
            another dimension.
    """
    pooled = pooled_clips(frames, dim)
    return over_clips(lambda clips: clips.mean(1), pooled, [len(clip) for clip in frames])


def in_order(values: Sequence[Tensor], batches: Sequence[Sequence[int]]) -> Tensor:
    """Join the values (k, ...) of batches of clips into one tensor in the order of the clips, (clips, ...).

    Args:
        values: the values of each batch.
        batches: the indices of the clips of each batch.
    """
    if len(values) == 1:
        return values[0]
    joined, clips = torch.cat(list(values)), [clip for batch in batches for clip in batch]
    if clips == sorted(clips):
        return joined
    return joined[torch.tensor(clips).argsort().to(joined.device)]


def batches_of_equal_length(lengths: Sequence[int], values: Callable[[int], int], room: int) -> Iterator[list[int]]:
    """Yield the indices of clips with equally many frames, in batches that hold at most `room` values.

    Args:
        lengths: the number of frames of each clip.
        values: maps a number of frames to the values that a clip of this length takes.
        room: the values of a batch; a single clip may take more.
    """
    by_length: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        by_length.setdefault(length, []).append(index)
    for length, indices in by_length.items():
        size = max(1, room // values(length))
        yield from (indices[start : start + size] for start in range(0, len(indices), size))
