"""The change of a metric between two models on the same prompts, of clips or of whole sets, with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dragon_rewards.evaluation.bootstrap import Interval, cluster_interval
from dragon_rewards.terminal.printable import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

HALVES = 400  # their spread is known to 1 / sqrt(2 * 400) = 3.5% of itself
BATCH = 64  # sets at once: their index rows are half as long as a set
DEVIATIONS = 1.96  # standard deviations to either end of a 95% interval of a normal distribution


@dataclass(frozen=True)
class Change:
    """A metric before and after tuning and its change, after less before, each with its 95% interval.

    Attributes:
        before: of the untuned model.
        after: of the tuned model.
        change: paired, so that what both models share of a prompt cancels.
    """

    before: Interval
    after: Interval
    change: Interval


def clip_change(before: ArrayLike, after: ArrayLike, prompts: ArrayLike) -> Change:
    """Return the means of a metric of clips, with intervals that resample whole prompts (`cluster_interval`).

    Args:
        before: the metric of one model's clips, (n,).
        after: the metric of the other model's clips at the same prompts and seeds, (n,).
        prompts: the prompt of each pair, (n,).

    Raises:
        ValueError: the counts differ, values are not finite, or there are fewer than 2 prompts.

    >>> clip_change([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], ["air", "jig", "reel"]).change
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    old, new = np.asarray(before, float), np.asarray(after, float)
    if old.shape != new.shape:
        raise ValueError(f"pairs need as many values before as after; got {old.shape} and {new.shape}")
    return Change(*(cluster_interval(values, prompts) for values in (old, new, new - old)))


def set_change(value: Callable[[Tensor], Tensor], pairs: int, halves: int = HALVES, seed: int = 0) -> Change:
    """Return a metric of whole sets of both models, with intervals by the delete-half jackknife.

    The metric is computed of all clips, and of R random halves of them, drawn without replacement, the same halves for
    both models. With r of n clips in a half and t_s the statistic of half s (Shao and Wu 1989, The Annals of Statistics
    17(3), 1176-1197):

        sd^2 = r / (n - r) sum_s (t_s - mean t)^2 / (R - 1)

    and the interval is the statistic of all clips, less and plus 1.96 sd. Of a mean of n values this sd is s / sqrt(n),
    and unlike the jackknife that leaves out one clip, it is consistent for statistics that are not smooth. The change
    takes the differences of both models' halves.

    A metric that is biased by the number of clips, as the Fréchet distance is, stays so: the interval is about what
    sets of so many clips have on average, not about the value of endless sets. In the change the bias of both models
    mostly cancels. With fewer than 100 clips, intervals of the Vendi score may be too narrow (reports/statistics).

    Args:
        value: maps index rows (sets, size) into the clips of both models to metrics (sets,); the clips of the untuned
            model come first, as for `permutation_test`.
        pairs: n, the clips of each model; clip i of one and clip i of the other are a pair.
        halves: R.
        seed: the seed of the halves.

    Raises:
        ValueError: there are fewer than 2 pairs or fewer than 2 halves.
        DragonError: `value` raises it, as for halves that are too small for it.

    Example:
        >>> clips = torch.cat([torch.zeros(8), torch.ones(8)])
        >>> set_change(lambda rows: clips[rows].mean(1), pairs=8).change
        Interval(mean=1.0, low=1.0, high=1.0)
    """
    if pairs < 2 or halves < 2:  # noqa: PLR2004
        raise ValueError(f"{halves} halves of {counted(pairs, 'pair')}; give 2 or more of both")
    chosen = random_halves(pairs, halves, seed)
    old, new = (_with_whole(value, chosen + first, first + np.arange(pairs)) for first in (0, pairs))
    return Change(*(_half_interval(values, pairs) for values in (old, new, new - old)))


def set_interval(value: Callable[[Tensor], Tensor], clips: int, halves: int = HALVES, seed: int = 0) -> Interval:
    """Return a metric of one whole set with its interval, as `set_change` has it for either of two models.

    Args:
        value: maps index rows (sets, size) into the clips to metrics (sets,).
        clips: n, the clips of the set.
        halves: R.
        seed: the seed of the halves.

    Raises:
        ValueError: there are fewer than 2 clips or fewer than 2 halves.
        DragonError: `value` raises it, as for halves that are too small for it.

    >>> values = torch.tensor([1.0, 3.0, 1.0, 3.0])
    >>> set_interval(lambda rows: values[rows].mean(1), clips=4).mean
    2.0
    """
    if clips < 2 or halves < 2:  # noqa: PLR2004
        raise ValueError(f"{halves} halves of {counted(clips, 'clip')}; give 2 or more of both")
    return _half_interval(_with_whole(value, random_halves(clips, halves, seed), np.arange(clips)), clips)


def random_halves(pairs: int, halves: int, seed: int) -> NDArray[np.int64]:
    """Draw random halves of the numbers below `pairs`, without replacement: (halves, pairs // 2)."""
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(pairs), (halves, 1)), axis=1)
    return order[:, : pairs // 2]


def _with_whole(
    value: Callable[[Tensor], Tensor], halves: NDArray[np.int64], whole: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the metric of the whole set, and then of each half: (1 + halves,)."""
    batches = [torch.from_numpy(whole[None]), *torch.from_numpy(halves).split(BATCH)]
    with torch.no_grad():
        values = torch.cat([value(batch).double().cpu() for batch in batches])
    result: NDArray[np.float64] = values.numpy()
    return result


def _half_interval(values: NDArray[np.float64], pairs: int) -> Interval:
    """Return the interval of a statistic from its value of the whole set and of halves, (1 + halves,)."""
    whole, halves, kept = values[0], values[1:], pairs // 2
    margin = DEVIATIONS * np.sqrt(kept / (pairs - kept)) * halves.std(ddof=1)
    return Interval(float(whole), float(whole - margin), float(whole + margin))
