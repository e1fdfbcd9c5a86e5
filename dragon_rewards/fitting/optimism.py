"""Choose which clips people rate next: those that the ratings so far allow to be best.

MEX (Liu et al., Maximize to Explore, arXiv 2305.18258) asks, of all functions that explain what was observed, for one
that promises most: f = argmax f(x) - eta L(f), with L the loss of the fit. Here f is the rating that kernel ridge
regression estimates, and L its loss, the sum of squared errors plus ridge |f|^2. Among all f whose loss exceeds the
least by no more than ridge kappa^2, in units of the ratings' variance, the largest f(x) is

    optimistic(x) = rating(x) + kappa deviation(x)

which is the upper confidence bound of the Gaussian process of the same kernel (Srinivas et al., arXiv 0912.3995,
algorithm 1). With kappa = 0 the choice is greedy.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dragon_rewards.errors import ConfigError
from dragon_rewards.fitting.fit import Fitting
from dragon_rewards.fitting.plugin import load
from dragon_rewards.media.discovery import find_audio
from dragon_rewards.media.usable import usable
from dragon_rewards.protocols import Modality
from dragon_rewards.reductions.aesthetics import gaussian_kernel
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from dragon_rewards.heads import HeadRecord
    from dragon_rewards.media.cache import EmbeddingCache
    from dragon_rewards.reductions.aesthetics import KernelHead

SAME = 1e-3  # of the bandwidth: the kernel of a clip and a rated one that is nearer is 1 within 1e-6


@dataclass(frozen=True)
class Choice:
    """A clip to rate next.

    Attributes:
        clip: the number of the clip.
        predicted: the rating that the head predicts of it.
        deviation: the posterior deviation of its rating, in units of the ratings, once the choices before it are rated.
    """

    clip: int
    predicted: float
    deviation: float


@dataclass(frozen=True)
class Optimism:
    """The Gaussian process whose mean is what a head says, and the choice of clips by it.

    Kernel ridge regression is the mean of a Gaussian process with the head's kernel k and noise of variance `ridge`,
    both in units of the ratings' variance. With s their deviation, the variance that is left at x is

        deviation(x)^2 = s^2 (1 - k(x)^T (K + ridge I)^-1 k(x))

    (Rasmussen and Williams, Gaussian Processes for Machine Learning, equation 2.26), of the rating itself and not of
    a further noisy answer.

    Attributes:
        head: a head that was fitted to ratings by kernel ridge regression.
        ridge: the ridge that it was fitted with, above 0.
    """

    head: KernelHead
    ridge: float

    def deviation(self, pooled: Tensor) -> Tensor:
        """Return the posterior deviation of the ratings of embeddings (clips, dim), (clips,), in units of ratings."""
        explained = self._whitened(pooled.double()).square().sum(0)
        return self.head.scale[2].double() * _root(1 - explained)

    def chosen(self, pooled: Tensor, count: int, kappa: float) -> list[Choice]:
        """Choose clips one after another, each with the largest rating(x) + kappa deviation(x) of those that are left.

        The deviation depends on where ratings are and not on what they are. So after each choice it is made what it
        will be when this clip is rated, while the predicted ratings stay: further clips that are like the choice have
        lost their deviation, and n of them are not chosen at once (GP-BUCB, Desautels et al., arXiv 1206.6402).

        Args:
            pooled: one embedding for each clip, (clips, dim).
            count: how many clips to choose, at most all.
            kappa: the weight of the deviation, at least 0.
        """
        x = pooled.double()
        bandwidth, _, spread = self.head.scale.double()
        predicted, known, free = self.head(x), self._whitened(x), torch.ones(len(x), dtype=torch.bool)
        found = []
        for _ in range(count):
            deviation = spread * _root(1 - known.square().sum(0))
            clip = int((predicted + kappa * deviation).where(free, -torch.inf).argmax())
            found.append(Choice(clip, float(predicted[clip]), float(deviation[clip])))
            free[clip] = False
            covariance = gaussian_kernel(x[[clip]], x, bandwidth) - known[:, [clip]].T @ known
            known = torch.cat([known, covariance / (covariance[0, clip] + self.ridge).sqrt()])
        return found

    def unrated(self, pooled: Tensor) -> list[int]:
        """Return the numbers of the clips, of embeddings (clips, dim), that the head was not fitted to.

        A clip counts as rated if a rated clip's embedding is within 0.001 bandwidths of its own.
        """
        distances = torch.cdist(pooled.double(), self.head.support.double()).amin(1)
        return torch.nonzero(distances > SAME * self.head.scale[0])[:, 0].tolist()

    def _whitened(self, x: Tensor) -> Tensor:
        """Return L^-1 k(x), (ratings, clips), with L L^T = K + ridge I: its squares are the variance explained."""
        support, bandwidth = self.head.support.double(), self.head.scale[0].double()
        noise = self.ridge * torch.eye(len(support), dtype=x.dtype)
        lower = torch.linalg.cholesky(gaussian_kernel(support, support, bandwidth) + noise)
        whitened: Tensor = torch.linalg.solve_triangular(lower, gaussian_kernel(support, x, bandwidth), upper=False)
        return whitened


def _root(variance: Tensor) -> Tensor:
    return variance.clamp(min=0).sqrt()


def rate_next(
    record: HeadRecord,
    paths: Iterable[Path],
    count: int,
    kappa: float,
    on_progress: Callable[[int, int], None],
    cache: EmbeddingCache | None,
    device: torch.device,
    *,
    skip_bad: bool = False,
) -> list[dict[str, Any]]:
    """Propose which clips to rate next, so that a reward of ratings learns where the best clips are.

    Args:
        record: the head, which was fitted to ratings.
        paths: files and folders; clips in them that the head was fitted to are left out.
        count: how many clips to propose.
        kappa: the weight of the posterior deviation, at least 0; 0 proposes what is predicted to be best.
        on_progress: called with the number of steps done and of all steps; a file takes two steps.
        cache: where embeddings are kept for the next time; None to keep none.
        device: where the clips are encoded.
        skip_bad: whether files that no reward can judge are named on stderr and left out.

    Returns:
        One row for each proposed clip, the first choice first, with `path`, `predicted`, `deviation` and `optimistic`,
        in units of the ratings (`Optimism.chosen`).

    Raises:
        ConfigError: there are fewer clips, or fewer that are not rated yet.
        AudioError: a path does not exist, a folder holds no audio, or a clip cannot be judged.
        DragonError: the head is broken, or was fitted with other weights of its encoder.
    """
    optimism = Optimism(load(record).head, record.ridge)
    files = find_audio(paths)
    if skip_bad:
        files = usable(files, Modality.AUDIO)
    _check_count(count, files, len(files))
    pooled = Fitting(record.name, record.encoder, device, cache, on_progress).embedded(tuple(files))
    unrated = optimism.unrated(pooled)
    _check_count(count, files, len(unrated))
    if len(unrated) < len(files):
        sys.stderr.write(f"left out, as they are rated: {counted(len(files) - len(unrated), 'clip')}\n")
    return [
        {
            "path": str(files[unrated[choice.clip]]),
            "predicted": choice.predicted,
            "deviation": choice.deviation,
            "optimistic": choice.predicted + kappa * choice.deviation,
        }
        for choice in optimism.chosen(pooled[unrated], count, kappa)
    ]


def _check_count(count: int, files: Sequence[Path], unrated: int) -> None:
    """Refuse to propose more clips than there are.

    Raises:
        ConfigError: there are fewer.
    """
    if count > unrated:
        rated = f", {len(files) - unrated} of them rated" if unrated < len(files) else ""
        remedy = f"ask for at most {unrated}, or add clips" if unrated else "add clips"
        there = f"there {'is' if len(files) == 1 else 'are'} {counted(len(files), 'file')}{rated}"
        raise ConfigError(f"{counted(count, 'clip')} to propose, and {there}; {remedy}")
