"""Reductions of whole sets by more than a Fréchet distance; most compare the clips' mean frames with points of a set.

A clip counts once, as a window or caption of the exemplars does: frames of one clip are much alike, so that they would
be each other's nearest neighbours. Where an encoder makes one frame of a clip, the mean is that frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards import metrics
from dragon_rewards.metrics.frames import clip_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from dragon_rewards.metrics import Gaussian, Points
    from dragon_rewards.protocols import Embeddings


class _OfSubsets(ABC):
    """A reduction of whole sets whose value is the value of the subset that holds all clips; it has no gradient."""

    @abstractmethod
    def subsets(self, clips: Embeddings, reference: Any) -> Callable[[Tensor], Tensor]:
        """Prepare the value of many subsets of the clips."""

    def __call__(self, clips: Embeddings, reference: Any) -> Tensor:
        """Return the value of all clips, a scalar."""
        return self.subsets(clips, reference)(torch.arange(len(clips.frames))[None])[0]


class Kad:
    """The reduction that returns the kernel audio distance of the clips from the reference: a scalar."""

    def __call__(self, clips: Embeddings, reference: Points) -> Tensor:
        """Return `metrics.kernel_audio_distance` of the clips' mean frames, with the reference's bandwidth."""
        return metrics.kernel_audio_distance(_means(clips, reference), reference.embeddings, reference.bandwidth)

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the distance of many subsets of the clips (see `metrics.kernel_audio_distance_subsets`)."""
        points = _means(clips, reference)
        return metrics.kernel_audio_distance_subsets(points, reference.embeddings, reference.bandwidth)


class Mmd:
    """The reduction that returns the squared maximum mean discrepancy of the clips and the reference: a scalar."""

    def __call__(self, clips: Embeddings, reference: Points) -> Tensor:
        """Return `metrics.maximum_mean_discrepancy` of the clips' mean frames."""
        return metrics.maximum_mean_discrepancy(_means(clips, reference), reference.embeddings)

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the value of many subsets of the clips (see `metrics.maximum_mean_discrepancy_subsets`)."""
        return metrics.maximum_mean_discrepancy_subsets(_means(clips, reference), reference.embeddings)


class Precision(_OfSubsets):
    """The reduction that returns the share of clips that lie among the exemplars: a scalar from 0 to 1."""

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the precision of many subsets of the clips (see `metrics.precision_subsets`)."""
        return metrics.precision_subsets(_means(clips, reference), reference.embeddings)


class Recall(_OfSubsets):
    """The reduction that returns the share of the exemplars that lie among the clips: a scalar from 0 to 1."""

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the recall of many subsets of the clips (see `metrics.recall_subsets`)."""
        return metrics.recall_subsets(_means(clips, reference), reference.embeddings)


class Density(_OfSubsets):
    """The reduction that returns how densely exemplars lie around the clips: a scalar of at least 0."""

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the density of many subsets of the clips (see `metrics.density_subsets`)."""
        return metrics.density_subsets(_means(clips, reference), reference.embeddings)


class Coverage(_OfSubsets):
    """The reduction that returns the share of exemplars that have a clip near them: a scalar from 0 to 1."""

    def subsets(self, clips: Embeddings, reference: Points) -> Callable[[Tensor], Tensor]:
        """Prepare the coverage of many subsets of the clips (see `metrics.coverage_subsets`)."""
        return metrics.coverage_subsets(_means(clips, reference), reference.embeddings)


class FadInfinity(_OfSubsets):
    """The reduction that returns the Fréchet audio distance that infinitely many such clips would have: a scalar."""

    def subsets(self, clips: Embeddings, reference: Gaussian) -> Callable[[Tensor], Tensor]:
        """Prepare the extrapolated distance of many subsets of the clips (see `metrics.fad_infinity_subsets`)."""
        return metrics.fad_infinity_subsets(clips.frames, reference)


def _means(clips: Embeddings, reference: Points) -> Tensor:
    return clip_means(clips.frames, reference.dim)
