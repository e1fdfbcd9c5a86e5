"""The built-in reductions: the metrics, in the shape that rewards call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from dragon_rewards import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from dragon_rewards.metrics import Facets, Gaussian
    from dragon_rewards.protocols import Embeddings

T = TypeVar("T")


class PerSongFad:
    """Fréchet audio distance of each clip's own frames from the reference: (clips,)."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        """See `metrics.per_song_fad`."""
        return metrics.per_song_fad(clips.frames, _given(reference))


class DatasetFad:
    """Fréchet audio distance of all frames of all clips from the reference: a scalar."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        """See `metrics.dataset_fad`."""
        return metrics.dataset_fad(clips.frames, _given(reference))

    def subsets(self, clips: Embeddings, reference: Gaussian | None) -> Callable[[Tensor], Tensor]:
        """See `metrics.dataset_fad_subsets`."""
        return metrics.dataset_fad_subsets(clips.frames, _given(reference))


class Vendi:
    """Vendi score, the effective number of distinct clips, on the mean frame of each: a scalar."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002  part of the protocol
        """See `metrics.vendi_score`."""
        return metrics.vendi_score(_pooled(clips))

    def subsets(self, clips: Embeddings, reference: Gaussian | None) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """See `metrics.vendi_subsets`."""
        return metrics.vendi_subsets(_pooled(clips))


class FacetCoverage:
    """How much of the shares of the exemplars' facets a set of clips covers: a scalar."""

    def __call__(self, clips: Embeddings, reference: Facets | None) -> Tensor:
        """See `metrics.facet_coverage`."""
        return metrics.facet_coverage(clips.frames, _given(reference))

    def subsets(self, clips: Embeddings, reference: Facets | None) -> Callable[[Tensor], Tensor]:
        """See `metrics.facet_coverage_subsets`."""
        return metrics.facet_coverage_subsets(clips.frames, _given(reference))


class ClapScore:
    """Cosine of each clip's mean frame with its prompt: (clips,)."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002
        """See `metrics.clap_score`."""
        return metrics.clap_score(clips.frames, _given(clips.prompts))


def _pooled(clips: Embeddings) -> Tensor:
    return torch.stack([frames.mean(0) for frames in clips.frames])


def _given(value: T | None) -> T:
    if value is None:
        raise ValueError("called without the reference or the prompts that its descriptor declares")
    return value
