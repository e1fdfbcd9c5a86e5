"""What every metric refuses: embeddings that are no matrix, too few, not finite, or of another space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LARGEST = 1e70  # products of two covariances hold fourth powers, 1e280: below 1.8e308 with room for their sums


def checked_matrix(rows: Tensor, what: str, minimum: int) -> Tensor:
    """`rows` in float64, if it is a finite matrix of at least `minimum` rows; `what` names it in the refusal."""
    if rows.ndim != 2:  # noqa: PLR2004  a matrix
        raise DragonError(f"{what} must be a matrix (frames, dim), not of shape {tuple(rows.shape)}")
    if len(rows) < minimum:
        raise DragonError(f"{what} has {len(rows)} frame(s), and at least {minimum} are needed")
    if rows.shape[1] == 0:
        raise DragonError(f"{what} has 0 dimensions, and at least 1 is needed")
    rows = rows.double()
    finite = (rows.detach().abs() <= LARGEST).all(dim=1)
    if not finite.all():
        raise DragonError(
            f"{what} has NaN or infinite values, or beyond {LARGEST:g}, first in frame {int((~finite).int().argmax())}"
        )
    return rows


def checked_clips(frames: Sequence[Tensor], dim: int, minimum: int) -> list[Tensor]:
    """The frames of every clip in float64; a refusal names the clip by its index."""
    if len(frames) == 0:
        raise DragonError("there are no clips to judge")
    clips = [checked_matrix(clip, f"clip {index}", minimum) for index, clip in enumerate(frames)]
    for index, clip in enumerate(clips):
        check_dim(clip.shape[1], dim, f"clip {index}")
    return clips


def check_dim(found: int, expected: int, what: str) -> None:
    """Refuse embeddings of another dimension than what they are compared with."""
    if found != expected:
        raise DragonError(
            f"{what} has {found} dimensions, and what it is compared with has {expected}: embed both with one encoder"
        )


def check_rows(rows: Tensor, count: int) -> None:
    """Refuse subsets that are not index rows (subsets, size) into `count` clips."""
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype not in {torch.int32, torch.int64}:  # noqa: PLR2004  a matrix
        raise DragonError(f"subsets must be rows of clip indices, not {rows.dtype} of shape {tuple(rows.shape)}")
    if rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise DragonError(f"subsets hold indices {int(rows.min())} to {int(rows.max())}, and there are {count} clips")
