"""The Fréchet distance as a training loss: statistics of a large population, gradient through the current batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.frames import MINIMUM_FRAMES, check_dim, pooled_clips
from dragon_rewards.metrics.frechet import frechet_distance
from dragon_rewards.metrics.gaussian import Gaussian, Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def frechet_loss(frames: Sequence[Tensor], population: Gaussian, reference: Gaussian) -> Tensor:
    """Return the FAD from the reference of a population merged with a batch: a scalar in squared embedding units.

    FD-loss (Yang et al., arXiv 2604.28190): the FAD of a batch alone is biased and noisy, so the N frames of earlier
    generations stand beside the B frames of the batch. For the mean mu and covariance S of all N + B frames the value
    is

        FAD = |mu - mu_r|^2 + tr S + tr S_r - 2 tr (S_r^1/2 S S_r^1/2)^1/2,

    exactly, as far as the covariance still holds it (`Gaussian.factor`).

    The gradient is the value's times (N + B) / B, so that the step size depends on neither N nor B / N. With G =
    dFAD/dS, it is for each frame x of the batch

        (2 / B) [mu - mu_r + (N + B) / (N + B - 1) G (x - mu)],

    the gradient of the FAD if the whole population moved as the batch does. None flows into the population.

    Args:
        frames: the batch, per clip a matrix (frames, d); at least 2 frames in all.
        population: the frames of earlier generations, without this batch, on the same device; see `update_population`.
        reference: the Gaussian of the exemplar set, on the device of the frames.

    Raises:
        DragonError: there are fewer than 2 frames, a clip (named by its index) is empty, has NaN or infinite values or
            another dimension than the reference, or the population has another dimension.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, frechet_loss
        >>> population = Gaussian.fit(torch.tensor([[-1.0], [1.0]] * 50))
        >>> batch = torch.tensor([[0.0], [2.0]], requires_grad=True)
        >>> loss = frechet_loss([batch], population, population)
        >>> loss.backward()
        >>> round(loss.item(), 4), [round(slope, 2) for slope in batch.grad[:, 0].tolist()]
        (0.0005, [0.02, 0.04])
    """
    batch = _fitted(frames, reference)
    check_dim(population.dim, reference.dim, "the population")
    earlier = population.constant(population.count)
    merged = earlier.merge(batch)
    value = frechet_distance(merged, reference)
    return value + (merged.count / batch.count - 1) * (value - value.detach())


def update_population(population: Gaussian, frames: Sequence[Tensor], memory: int) -> Gaussian:
    """Return the population with a batch added, in which earlier frames count as at most `memory`; without gradient.

    It is exact (by `Moments`) until `memory` frames are reached. From then on it is an exponential moving average, in
    which the B new frames and what went before weigh

        B / (memory + B)    and    memory / (memory + B)

    Its mean is as steady and as old as the mean of 2 memory + B frames: the sum of its squared weights is 1 / (2 memory
    + B), their mean age memory / B batches. A queue of that many frames would have to hold the moments (d, d) of every
    batch.

    Args:
        population: the frames so far; start with `Gaussian.fit` of generations made without gradient.
        frames: the batch, per clip a matrix (frames, d); at least 2 frames in all.
        memory: the frames that earlier generations count as, at least 2.

    Raises:
        DragonError: there are fewer than 2 frames, a clip (named by its index) is empty, has NaN or infinite values or
            another dimension than the population, or the memory is below 2 frames.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, update_population
        >>> population = Gaussian.fit(torch.tensor([[0.0], [2.0]]))
        >>> population = update_population(population, [torch.tensor([[4.0], [6.0]])], memory=6)
        >>> population.mean.tolist(), population.count
        ([3.0], 4)
    """
    if memory < MINIMUM_FRAMES:
        raise DragonError(f"the memory of a population must be at least {MINIMUM_FRAMES} frames, not {memory}")
    batch = _fitted([clip.detach() for clip in frames], population)
    earlier = population.constant(memory)
    return earlier.merge(batch)


def _fitted(frames: Sequence[Tensor], other: Gaussian) -> Gaussian:
    """Return the Gaussian of all frames of a batch, which must have the dimension of `other`."""
    return Gaussian.of_moments(Moments.of(pooled_clips(frames, other.dim), MINIMUM_FRAMES))
