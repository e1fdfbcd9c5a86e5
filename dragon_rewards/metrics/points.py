"""Points: the embeddings of a set's examples, one for each, for metrics that assume no shape of a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import checked_matrix
from dragon_rewards.metrics.kernel import median_bandwidth

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor

POINTS = "points"
FEWEST = 2  # a single point has no neighbour


@dataclass(frozen=True, eq=False)
class Points:
    """The embeddings of a set's examples, one for each: the mean frame of a window of audio, or a caption.

    Attributes:
        embeddings: (n, d), in float64 and in embedding units.

    Raises:
        DragonError: `embeddings` is no matrix, has fewer than 2 rows, or holds NaN or infinite values.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Points
        >>> points = Points(torch.tensor([[0.0], [1.0], [3.0]]))
        >>> points.dim, points.bandwidth
        (1, 2.0)
    """

    embeddings: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "embeddings", checked_matrix(self.embeddings.detach(), "the set of points", FEWEST))

    @property
    def dim(self) -> int:
        """The dimension d of the embeddings, as their columns have it."""
        return self.embeddings.shape[1]

    @cached_property
    def bandwidth(self) -> float:
        """The `median_bandwidth` of the points, in embedding units; raises as it does."""
        return median_bandwidth(self.embeddings)

    def to(self, device: torch.device) -> Points:
        """Return a copy of these points on another device."""
        return Points(self.embeddings.to(device))

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the embeddings by name, as safetensors stores them."""
        return {POINTS: self.embeddings}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Points:
        """Make points from what `to_tensors` returned.

        Raises:
            DragonError: the tensor is missing, or is no set of points.
        """
        if POINTS not in tensors:
            raise DragonError("there are no points: the tensors were not made by `to_tensors`")
        return cls(tensors[POINTS])
