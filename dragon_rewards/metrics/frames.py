"""The frames of clips as every metric takes them: checked, in float64, and gone over clip by clip in few launches.

Refused are embeddings that no metric can judge: not a matrix, too few, not finite, or of another space. Clips may
differ in length: their frames lie one after another, and all clips of one length are judged at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.devices import statistics_device
from dragon_rewards.errors import DragonError
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

LARGEST = 1e70  # products of two covariances hold fourth powers, 1e280: below 1.8e308 with room for their sums
MINIMUM_FRAMES = 2  # one frame has no covariance
ROOM = 2**24  # float64 values of one array of a batch: 128 MiB


def checked_matrix(rows: Tensor, what: str, minimum: int) -> Tensor:
    """Return `rows` in float64, if it is a finite matrix of at least `minimum` rows.

    Args:
        rows: (n, d).
        what: the name of the matrix in the error message.
        minimum: the least n.

    Raises:
        DragonError: it is no matrix, has too few rows or no columns, or holds values that are NaN, infinite or above
            1e70.
    """
    _check_shape(rows, what, minimum)
    _check_finite([rows], [what])
    return in_float64(rows)


def in_float64(rows: Tensor) -> Tensor:
    """Return `rows` in float64, on the CPU where their device has no float64; differentiable."""
    return rows.to(statistics_device(rows.device)).double()


def check_clips(frames: Sequence[Tensor], dim: int, minimum: int) -> None:
    """Refuse clips that are not finite matrices of `dim` columns and at least `minimum` rows.

    Raises:
        DragonError: there are no clips, or a clip, which is named by its index, is refused.
    """
    names = _checked_names(frames, dim, minimum)
    _check_finite(frames, names)


def pooled_clips(frames: Sequence[Tensor], dim: int) -> Tensor:
    """Return all frames of all clips together in float64, (frames, dim).

    Raises:
        DragonError: there are no clips, or a clip, which is named by its index, has no frames, another dimension, or
            NaN or infinite values.
    """
    names = _checked_names(frames, dim, minimum=1)
    pooled = in_float64(torch.cat(list(frames)))
    if not _all_finite([pooled]):
        _check_finite(frames, names)
    return pooled


def _checked_names(frames: Sequence[Tensor], dim: int, minimum: int) -> list[str]:
    """Return the names of clips, if their shapes are as they should be."""
    if len(frames) == 0:
        raise DragonError("there are no clips to judge")
    names = [f"clip {index}" for index in range(len(frames))]
    for clip, name in zip(frames, names, strict=True):
        _check_shape(clip, name, minimum)
        check_dim(clip.shape[1], dim, name)
    return names


def _check_shape(rows: Tensor, what: str, minimum: int) -> None:
    if rows.ndim != 2:  # noqa: PLR2004  a matrix
        raise DragonError(f"{what} must be a matrix (frames, dim), not of shape {tuple(rows.shape)}")
    if len(rows) < minimum:
        raise DragonError(f"{what} has {counted(len(rows), 'frame')}, and at least {minimum} are needed")
    if rows.shape[1] == 0:
        raise DragonError(f"{what} has 0 dimensions, and at least 1 is needed")


def _check_finite(matrices: Sequence[Tensor], names: Sequence[str]) -> None:
    if _all_finite(matrices):
        return
    for rows, name in zip(matrices, names, strict=True):
        finite = (in_float64(rows.detach()).abs() <= LARGEST).all(dim=1)
        if not finite.all():
            frame = int((~finite).int().argmax())
            raise DragonError(f"{name} has NaN or infinite values, or beyond {LARGEST:g}, first in frame {frame}")


def _all_finite(matrices: Sequence[Tensor]) -> bool:
    """Return one answer for all matrices, so that an accelerator is waited for once, and asked in a few launches."""
    if matrices[0].device.type != "cpu" and len(matrices) > 1:
        matrices = [torch.cat(list(matrices))]
    extremes = [extreme for rows in matrices if len(rows) for extreme in rows.detach().aminmax()]
    return not extremes or bool((in_float64(torch.stack(extremes)).abs() <= LARGEST).all())


def check_dim(found: int, expected: int, what: str) -> None:
    """Refuse embeddings whose dimension is not the one of what they are compared with.

    Raises:
        DragonError: `found` is not `expected`; `what` names the embeddings.
    """
    if found != expected:
        raise DragonError(
            f"{what} has {found} dimensions, and what it is compared with has {expected}: embed both with one encoder"
        )


def check_rows(rows: Tensor, count: int) -> None:
    """Refuse subsets that are not index rows (subsets, size) into `count` clips.

    Raises:
        DragonError: the rows are no matrix of whole numbers, have no columns, or hold an index that no clip has.
    """
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype not in {torch.int32, torch.int64}:  # noqa: PLR2004  a matrix
        raise DragonError(f"subsets must be rows of clip indices, not {rows.dtype} of shape {tuple(rows.shape)}")
    if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise DragonError(f"subsets hold indices {int(rows.min())} to {int(rows.max())}, and there are {count} clips")


def check_total(frames: int) -> None:
    """Refuse a set of clips of fewer frames in all than a covariance needs.

    Raises:
        DragonError: there are fewer than 2 frames.
    """
    if frames < MINIMUM_FRAMES:
        raise DragonError(f"a set of clips needs at least {MINIMUM_FRAMES} frames in all, not {frames}")


def directions(rows: Tensor, what: str) -> Tensor:
    """Return rows (n, d) scaled to length 1.

    Args:
        rows: (n, d).
        what: the name of a row in the error message, before its index.

    Raises:
        DragonError: a row has the length zero, so it has no direction.
    """
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not lengths.all():
        raise DragonError(f"{what} {int(lengths[:, 0].argmin())} is zero, so it has no cosine with anything")
    return rows / lengths


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
