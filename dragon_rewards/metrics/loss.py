"""Fréchet distance as a training loss: statistics of a large population, gradient through the current batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragon_rewards.errors import DragonError
from dragon_rewards.metrics.checks import check_dim, pooled_clips
from dragon_rewards.metrics.frechet import frechet_distance
from dragon_rewards.metrics.gaussian import MINIMUM_FRAMES, Gaussian, Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def frechet_loss(frames: Sequence[Tensor], population: Gaussian, reference: Gaussian) -> Tensor:
    """FAD from the reference of a population merged with the current batch: a scalar in squared embedding units.

    FD-loss (Yang et al., arXiv 2604.28190): the FAD of a batch alone is biased and noisy, so the N frames of earlier
    generations stand beside the B frames of the batch. The value is exactly the FAD of all N + B frames, as far as
    their covariance still holds it (`Gaussian.factor`).

    The gradient is (N + B) / B times that of the value, so that the step size depends on neither N nor B / N. For mean
    mu and covariance S of all N + B frames, and G = dFAD/dS, it is for each frame x of the batch

        (2 / B) [mu - mu_r + (N + B) / (N + B - 1) G (x - mu)],

    the gradient of the FAD if the whole population moved as the batch does. None flows into the population.

    Args:
        frames: the batch, per clip a matrix (frames, d); at least 2 frames in all.
        population: of earlier generations, without this batch, on the device of the frames; see `update_population`.
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
    """The population with a batch added, earlier frames counting as at most `memory`: a constant, without gradient.

    Exact (Chan merge of centred moments) until `memory` frames are reached; from then on an exponential moving average,
    in which B new frames weigh B / (memory + B) and what went before memory / (memory + B). Its mean is as steady as
    that of 2 memory + B frames, and as old: the sum of its squared weights is 1 / (2 memory + B), their mean age
    memory / B batches. A queue of that many frames would have to hold the moments (d, d) of every batch.

    Args:
        population: the frames so far; start with `Gaussian.fit` of generations made without gradient.
        frames: the batch, per clip a matrix (frames, d); at least 2 frames in all.
        memory: the frames that earlier generations count as, at least 2.

    Raises:
        DragonError: as `frechet_loss`, or the memory is below 2 frames.

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
    """The Gaussian of all frames of a batch, of the same dimension as `other`."""
    return Gaussian.of_moments(Moments.of(pooled_clips(frames, other.dim), MINIMUM_FRAMES))
