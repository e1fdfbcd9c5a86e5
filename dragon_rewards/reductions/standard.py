"""The built-in reductions: the metrics of `dragon_rewards.metrics`, in the shape that rewards call."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

from dragon_rewards import metrics
from dragon_rewards.metrics.frames import clip_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from dragon_rewards.metrics import Facets, Gaussian
    from dragon_rewards.metrics.gaussian import Moments
    from dragon_rewards.protocols import Embeddings

T = TypeVar("T")
ROUNDING = 1e-6  # the same text embeds alike up to rounding, which depends on its place in a batch


class PerSongFad:
    """The reduction that returns the Fréchet audio distance of each clip's own frames from the reference: (clips,)."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        """Return `metrics.per_song_fad` of the clips, (clips,), in squared embedding units."""
        return metrics.per_song_fad(clips.frames, _given(reference))


class DatasetFad:
    """The reduction that returns the Fréchet audio distance of all frames of all clips from the reference: a scalar."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:
        """Return `metrics.dataset_fad` of the clips, a scalar in squared embedding units."""
        return metrics.dataset_fad(clips.frames, _given(reference))

    def subsets(self, clips: Embeddings, reference: Gaussian | None) -> Callable[[Tensor], Tensor]:
        """Prepare the distance of many subsets of the clips (see `metrics.dataset_fad_subsets`)."""
        return metrics.dataset_fad_subsets(clips.frames, _given(reference))

    def of_moments(self, moments: Moments, reference: Gaussian | None) -> Tensor:
        """Return `metrics.frechet_distance` of the Gaussian of these moments, a scalar in squared embedding units."""
        return metrics.frechet_distance(metrics.Gaussian.of_moments(moments), _given(reference))


class Vendi:
    """The reduction that returns the effective number of distinct clips, by the mean frame of each: a scalar."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002  part of the protocol
        """Return `metrics.vendi_score` of the clips' mean frames, from 1 to the number of clips."""
        return metrics.vendi_score(_pooled(clips))

    def subsets(self, clips: Embeddings, reference: Gaussian | None) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Prepare the score of many subsets of the clips (see `metrics.vendi_subsets`)."""
        return metrics.vendi_subsets(_pooled(clips))


class FacetCoverage:
    """The reduction that returns how much of the shares of the exemplars' facets a set of clips covers: a scalar."""

    def __call__(self, clips: Embeddings, reference: Facets | None) -> Tensor:
        """Return `metrics.facet_coverage` of the clips, from 0 to 1."""
        return metrics.facet_coverage(clips.frames, _given(reference))

    def subsets(self, clips: Embeddings, reference: Facets | None) -> Callable[[Tensor], Tensor]:
        """Prepare the coverage of many subsets of the clips (see `metrics.facet_coverage_subsets`)."""
        return metrics.facet_coverage_subsets(clips.frames, _given(reference))


class ClapScore:
    """The reduction that returns the cosine of each clip's mean frame with its prompt: (clips,)."""

    def __call__(self, clips: Embeddings, reference: Gaussian | None) -> Tensor:  # noqa: ARG002
        """Return `metrics.clap_score` of the clips and their prompts, (clips,), from -1 to 1."""
        return metrics.clap_score(clips.frames, _given(clips.prompts))


class BestOfClapScore:
    """The reduction that returns the expected CLAP score of the best of n clips per prompt, as a mean over prompts.

    The n clips are drawn with replacement from the k that the set has for the prompt, so that any k has a value. The
    i-th lowest of k is the best with probability

        (i / k)^n - ((i - 1) / k)^n,

    which is the mean over ((i - 1) / k, i / k) of n C^(n - 1), the density of the best of n, where C is the reward
    calibrated inside the prompt's own clips (InfAlign, Balashankar et al., arXiv 2412.19792; this is the finite form of
    the maximum under the empirical distribution). At n = 1, and for prompts with one clip each, it is the mean CLAP
    score.

    The value is below the model's own best of n, the more so the fewer clips a prompt has: compare sets with as many
    clips of each prompt. `evaluation.best_of_n_mean` has no such bias and needs k >= n. Two prompts are the same where
    their embeddings are.

    Attributes:
        n: how many clips the best is taken of.
    """

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, clips: Embeddings, reference: None) -> Tensor:
        """Return the value of the whole set, a scalar from -1 to 1."""
        return self.subsets(clips, reference)(torch.arange(len(clips.frames))[None])[0]

    def subsets(self, clips: Embeddings, reference: None) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Prepare the value of many subsets of these clips: map index rows (subsets, size) to values (subsets,)."""
        prompts = _given(clips.prompts)
        return _BestOfSubsets(metrics.clap_score(clips.frames, prompts), _same_prompts(prompts), self.n)


def _same_prompts(embedded: Tensor) -> Tensor:
    """Return for each embedded prompt (clips, dim) the number of its text, from 0: (clips,)."""
    directions = torch.nn.functional.normalize(embedded.detach().double(), dim=1)
    alike = directions @ directions.T > 1 - ROUNDING
    first = alike.byte().argmax(1)
    return torch.searchsorted(first.unique(), first)


class _BestOfSubsets:
    """The map from index rows (subsets, size) to values (subsets,), for clips with known scores and prompts.

    Attributes:
        scores: the CLAP score of each clip, (clips,).
        prompts: the number of each clip's prompt, (clips,).
        n: how many clips the best is taken of.
    """

    def __init__(self, scores: Tensor, prompts: Tensor, n: int) -> None:
        self.scores, self.prompts, self.n = scores, prompts, n

    def __call__(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.scores.device)
        # In ascending order of scores, a clip's place among the clips of its prompt is how many of them came before.
        rows = rows.gather(1, self.scores[rows].argsort(dim=1, stable=True))
        members = torch.nn.functional.one_hot(self.prompts[rows]).to(self.scores)
        places = (members.cumsum(1) * members).sum(2)
        counts = members.sum(1)
        of = counts.gather(1, self.prompts[rows])
        weights = (places / of) ** self.n - ((places - 1) / of) ** self.n
        return (weights * self.scores[rows]).sum(1) / (counts > 0).sum(1)


def best_of_4() -> BestOfClapScore:
    """Build the reduction `best-of-4-clap-score`."""
    return BestOfClapScore(4)


def _pooled(clips: Embeddings) -> Tensor:
    return clip_means(clips.frames, clips.frames[0].shape[1])


def _given(value: T | None) -> T:
    if value is None:
        raise ValueError("called without the reference or the prompts that its descriptor declares")
    return value
