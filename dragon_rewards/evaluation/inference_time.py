"""Best of N: how often it wins, and how rewards are calibrated for it."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING

import numpy as np

from dragon_rewards.evaluation.bootstrap import Interval, cluster_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def calibrated(values: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return where rewards (prompts, k) stand among the rewards (prompts, m) of reference clips, 0 to 1: (prompts, k).

    For a clip y of prompt x and a random clip z of the reference model for x:

        C(x, y) = P(r(x, z) < r(x, y)) + 1/2 P(r(x, z) = r(x, y))

    It is the calibrated reward of InfAlign (Balashankar et al., arXiv 2412.19792, section 4). Its mean over the clips
    of a model is that model's win rate; it is the same for every monotone transformation of the reward, and uniform for
    the reference model itself, so that prompts count alike.

    Args:
        values: the rewards to calibrate, (prompts, k).
        reference: the rewards of the reference model's clips, (prompts, m).

    Raises:
        ValueError: the shapes do not fit, or values are not finite.

    >>> calibrated([[1.0, 5.0]], [[0.0, 1.0, 2.0, 3.0]])
    array([[0.375, 1.   ]])
    """
    own, others = _tables(values, reference)
    mean_and_spread: NDArray[np.float64] = (np.sign(own[:, :, None] - others[:, None]).mean(2) + 1) / 2
    return mean_and_spread


def best_of_n_transform(mean_and_spread: ArrayLike, n: int, policy: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the reward whose gain is a first gain in best-of-n win rate, of calibrated rewards C of any shape.

    With U the share of the reference model's clips below a clip and F the distribution function of U over a model's
    clips, the model's best of n beats the reference's with probability

        W = 1 - integral_0^1 n u^(n-1) F(u)^n du

    Moving a little of the model's mass to clips at C adds to that, up to a constant,

        Phi_F(C) = n^2 integral_0^C u^(n-1) F(u)^(n-1) du

    which is returned in units of n^2 / (2n - 1). Of the reference model, F(u) = u, it is C^(2n - 1): at n = 1 it is C
    itself, and larger n count only the best. InfAlign (arXiv 2412.19792, section 3) shows for every procedure at
    inference that the best model under a KL penalty is the best for a transformed reward; as the model leaves the
    reference, F and with it the transformation change. The model whose density is proportional to exp(Phi_F / beta) is
    a fixed point.

    Args:
        mean_and_spread: C, from `calibrated`.
        n: how many clips the best is taken of.
        policy: the calibrated rewards of clips of the model as it is, of which F is the share that is no larger; None
            for the reference model itself.

    Raises:
        ValueError: n is below 1, a value is outside [0, 1], or the model has no clips.

    >>> best_of_n_transform([0.5, 0.9], n=2).round(3)
    array([0.125, 0.729])
    >>> best_of_n_transform([0.5, 0.9], n=2, policy=[0.4, 0.8]).round(3)
    array([0.067, 0.615])
    """
    shares = _shares(mean_and_spread, n)
    if policy is None:
        reference: NDArray[np.float64] = shares ** (2 * n - 1)
        return reference
    steps = np.sort(_shares(policy, n).ravel())
    if not steps.size:
        raise ValueError("the distribution of a model takes at least one of its clips; got none")
    ends = np.minimum(shares[..., None], np.append(steps, 1.0)) ** n
    heights = (np.arange(1, steps.size + 1) / steps.size) ** (n - 1)  # F^(n-1) from each step to the next
    below = ends[..., 0] if n == 1 else 0.0  # below the first step F is 0, and 0^0 is 1
    moved: NDArray[np.float64] = (2 * n - 1) / n * (below + np.diff(ends, axis=-1) @ heights)
    return moved


def worst_of_n_transform(mean_and_spread: ArrayLike, n: int, policy: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the reward whose gain is a first gain in worst-of-n win rate: what holds for every clip of several.

    By symmetry it is -`best_of_n_transform` of 1 - C, and of the reference model -(1 - C)^(2n - 1).

    Args:
        mean_and_spread: C, from `calibrated`.
        n: how many clips the worst is taken of.
        policy: the calibrated rewards of clips of the model as it is; None for the reference model itself.

    Raises:
        ValueError: n is below 1, a value is outside [0, 1], or the model has no clips.

    >>> worst_of_n_transform([0.5, 0.9], n=2).round(3)
    array([-0.125, -0.001])
    """
    others = None if policy is None else 1 - np.asarray(policy, float)
    mirrored: NDArray[np.float64] = -best_of_n_transform(1 - np.asarray(mean_and_spread, float), n, others)
    return mirrored


def _shares(values: ArrayLike, n: int) -> NDArray[np.float64]:
    shares = np.asarray(values, float)
    if n < 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"calibrated rewards lie between 0 and 1, and n is 1 or more; got n = {n} and {shares}")
    return shares


def best_of_n_mean(values: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return the expected best of n draws without replacement from each prompt's rewards (prompts, k): (prompts,).

    For the rewards r_(i) in ascending order, i from 1:

        sum_i C(i - 1, n - 1) / C(k, n) r_(i)

    It is the U-statistic of the maximum, so it is without bias for the model's best of n.

    Raises:
        ValueError: the values are no table (prompts, k) or not finite, or n is below 1 or above k.

    >>> best_of_n_mean([[1.0, 2.0, 4.0]], 2)
    array([3.33333333])
    """
    table, _ = _tables(values, values)
    means: NDArray[np.float64] = np.sort(table, 1) @ _weights(table.shape[1], n)
    return means


def best_of_n_wins(before: ArrayLike, after: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return, per prompt, how often the best of n clips of `after` beats the best of n clips of `before`: (prompts,).

    It is the exact expectation over draws of n clips of each without replacement, a tie counting half. The best of n of
    k is the i-th lowest, i from 1, with probability

        C(i - 1, n - 1) / C(k, n)

    Args:
        before: the rewards of one model, (prompts, m).
        after: the rewards of the other model, (prompts, k).
        n: how many clips the best is taken of.

    Raises:
        ValueError: the shapes do not fit, values are not finite, or n is below 1 or above k or m.

    >>> best_of_n_wins([[0.0, 3.0]], [[1.0, 2.0]], 1), best_of_n_wins([[0.0, 3.0]], [[1.0, 2.0]], 2)
    (array([0.5]), array([0.]))
    """
    old, new = (np.sort(table, 1) for table in _tables(before, after))
    wins = (np.sign(new[:, :, None] - old[:, None]) + 1) / 2
    expected: NDArray[np.float64] = _weights(new.shape[1], n) @ wins @ _weights(old.shape[1], n)
    return expected


def best_of_n_win_rate(before: ArrayLike, after: ArrayLike, n: int, seed: int = 0) -> Interval:
    """Return the inference-time win rate under best of n: the mean of `best_of_n_wins`, with an interval over prompts.

        mean_x P(best of n of `after` beats best of n of `before` | prompt x)

    It is what InfAlign optimises (arXiv 2412.19792, section 2): a model that wins clip by clip may lose where everyone
    takes the best of several, if it has become narrow.

    Args:
        before: the rewards of one model, (prompts, m).
        after: the rewards of the other model, (prompts, k).
        n: how many clips the best is taken of.
        seed: the seed of the resamples of the interval.

    Raises:
        ValueError: `best_of_n_wins` refuses the rewards, or there are fewer than 2 prompts.

    >>> wide, narrow = [[0, 4], [0, 4]], [[2, 3], [2, 3]]
    >>> best_of_n_win_rate(wide, narrow, n=1).mean, best_of_n_win_rate(wide, narrow, n=2).mean
    (0.5, 0.0)
    """
    wins = best_of_n_wins(before, after, n)
    return cluster_interval(wins, np.arange(len(wins)), seed)


def _weights(clips: int, n: int) -> NDArray[np.float64]:
    """Return the probability that the best of n of so many clips is the i-th lowest, (clips,)."""
    if not 1 <= n <= clips:
        raise ValueError(f"the best of {n} takes at least that many clips of every prompt, and at least 1; got {clips}")
    return np.array([comb(place, n - 1) / comb(clips, n) for place in range(clips)])


def _tables(before: ArrayLike, after: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    old, new = np.asarray(before, float), np.asarray(after, float)
    if old.ndim != 2 or new.ndim != 2 or len(old) != len(new) or not old.size or not new.size:  # noqa: PLR2004
        raise ValueError(f"rewards of clips by prompt, (prompts, clips); got {old.shape} and {new.shape}")
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        raise ValueError("rewards to compare must be finite; drop or score again the clips without one")
    return old, new
