"""Refuse embeddings that no metric can judge: not a matrix, too few, not finite, or of another space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.compute.devices import statistics_device
from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LARGEST = 1e70  # products of two covariances hold fourth powers, 1e280: below 1.8e308 with room for their sums


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
        raise DragonError(f"{what} has {len(rows)} frame(s), and at least {minimum} are needed")
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
