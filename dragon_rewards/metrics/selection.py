"""Demonstrations are chosen from two on-policy sets: D+ and its complement D- (DRAGON, arXiv 2504.15217)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import torch

from dragon_rewards.errors import DragonError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BLOCK = 8  # exchanges valued at once: enough to fill a batch, few enough that later ones see earlier ones accepted
PASSES = 4  # enough for most selections to end before, few enough to bear
RISE = 1e-9  # of the sum of all terms: what rounding alone can make of a rise of an expansion
GAIN = 1e-9  # relative rise that counts as one: values of equal subsets differ by rounding
FEW = 12  # pairs of which all 2^n choices are ranked: 4,096 at most
SHORTLIST = 32  # choices that are valued of those: the best is among them (reports/benchmarks/few_pairs.md)
SAMPLES = 2  # values for each coefficient of a quadratic that is fitted


@dataclass(frozen=True)
class Selection:
    """The sets D+ and D-, as indices of 2n clips: 0 to n - 1 are set A, n to 2n - 1 set B, in the order of the prompts.

    Attributes:
        positive: the n clips of D+, (n,).
        negative: the n other clips, (n,); in paired selection negative[i] has the prompt i of positive[i].
        value: the reward of D+; for instance rewards the mean of its clips.
        mean: the mean reward of A and B; for instance rewards the mean of all clips.
        swaps: clips of D+ that do not come from the set it started from (A, or for `select_positive` the better one).
    """

    positive: Tensor
    negative: Tensor
    value: float
    mean: float
    swaps: int


@dataclass(frozen=True, eq=False)
class Expansion:
    """The quadratic by which a reward changes under moves z, each of which moves the weights of some clips.

        r(z) - r(0) = slope . z + z^T curvature z

    Attributes:
        slope: (moves,).
        curvature: (moves, moves), symmetric.
    """

    slope: Tensor
    curvature: Tensor

    def __neg__(self) -> Expansion:
        return Expansion(-self.slope, -self.curvature)

    def climb(self, start: Tensor, *, balanced: bool) -> Tensor:
        """Flip signs of z, one or two at a time, always those that raise the expansion most, until no flip raises it.

        Args:
            start: the first z, (moves,); its entries differ in sign only.
            balanced: flip only two of opposite sign, so that the sum of z stays.

        Returns:
            The last z, (moves,).

        Example:
            >>> import torch
            >>> from dragon_rewards.metrics.selection import Expansion
            >>> expansion = Expansion(torch.tensor([1.0, -1.0, 3.0]), torch.zeros(3, 3))
            >>> expansion.climb(torch.full((3,), -0.5), balanced=False).tolist()
            [0.5, -0.5, 0.5]
        """
        signs, least = start.clone(), RISE * float(self.slope.abs().sum() + self.curvature.abs().sum())
        while True:
            rises = self.rises(signs)
            if balanced:
                rises = rises.masked_fill(torch.outer(signs, signs) > 0, -inf)
            best = int(rises.argmax())
            if not rises.flatten()[best] > least:
                return signs
            signs[list({*divmod(best, len(signs))})] *= -1

    def changes(self, rows: Tensor) -> Tensor:
        """Return r(z) - r(0) for each row z of (k, moves), (k,)."""
        return rows @ self.slope + (rows @ self.curvature * rows).sum(1)

    def rises(self, signs: Tensor) -> Tensor:
        """Return what flipping signs i and j of z (moves,) adds to the expansion, (moves, moves).

        The diagonal holds what flipping i alone adds. With steps s = -2 z and c for the curvature:

            g_i = s_i (slope_i + 2 (c z)_i) + s_i^2 c_ii
            g_ij = g_i + g_j + 2 s_i s_j c_ij
        """
        steps = -2 * signs
        single = steps * (self.slope + 2 * self.curvature @ signs) + steps.square() * self.curvature.diagonal()
        both = single[:, None] + single + 2 * torch.outer(steps, steps) * self.curvature
        return both.diagonal_scatter(single)


def select_pairs(values_a: Tensor, values_b: Tensor) -> Selection:
    """Choose the better clip of each same-prompt pair as positive; ties go to A.

        positive_i = argmax(r(A_i), r(B_i))

    Args:
        values_a: the reward of each clip of A, (n,).
        values_b: the reward of each clip of B, (n,).

    Raises:
        DragonError: the two are not vectors of equal length of at least 1, or hold NaN.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import select_pairs
        >>> select_pairs(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 5.0])).positive.tolist()
        [2, 1]
    """
    if values_a.shape != values_b.shape:
        raise DragonError(
            f"pairs need as many values of A as of B, not {tuple(values_a.shape)} and {tuple(values_b.shape)}"
        )
    values = _checked_values(torch.cat([values_a, values_b]))
    first, second = torch.arange(len(values), device=values.device).view(2, -1)
    kept = values[first] >= values[second]
    return _of_instances(values, torch.where(kept, first, second), torch.where(kept, second, first))


def select_unpaired(values: Tensor) -> Selection:
    """Choose the better half of all clips as positive, best first; ties go to the earlier clip.

    Args:
        values: the reward of each clip of A, then of B, (2n,).

    Raises:
        DragonError: `values` is no vector of even length of at least 2, or holds NaN.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import select_unpaired
        >>> select_unpaired(torch.tensor([1.0, 5.0, 2.0, 4.0])).positive.tolist()
        [1, 3]
    """
    values = _checked_values(values)
    positive, negative = values.argsort(descending=True, stable=True).chunk(2)
    return _of_instances(values, positive, negative)


def select_positive(
    pairs: int,
    value: Callable[[Tensor], Tensor],
    *,
    paired: bool = True,
    pool: Tensor | None = None,
    max_passes: int | None = None,
    generator: torch.Generator | None = None,
) -> Selection:
    """Choose D+ for a distribution reward r: the better of A and B, then every exchange that raises r(D+).

        r(D+) >= max(r(A), r(B))

    A leap comes first. Where `value` has a method `expansion`, as the result of `dataset_fad_subsets` has, r is
    expanded to second order about the mixture of A and B, which is equally far from all sets, and what the expansion
    calls the best exchanges are made together. Of up to 12 pairs it ranks all 2^n choices, and the best of the first 32
    is taken; a reward without an expansion is then fitted by a quadratic, to its values of random choices, two for each
    of the 1 + n (n + 1) / 2 coefficients.

    Then passes follow. Paired, a clip is exchanged with its partner, in random order, until a pass makes no exchange
    (then no single swap raises r) or `max_passes` is reached. Unpaired, each pass matches members with non-members at
    random, so `pairs * max_passes` exchanges are tried. Exchanges are valued in blocks. What is accepted, leap or
    block, is valued as a whole, so r never falls.

    The greedy is DRAGON's (arXiv 2504.15217), the pool is subset-replace (arXiv 2607.02291).

    Args:
        pairs: n, the number of prompts; clips 0 to n - 1 are set A, n to 2n - 1 set B.
        value: maps index rows (k, m) to the reward of each subset, (k,); larger is better.
        paired: whether D+ holds exactly one clip of each prompt.
        pool: indices that count beside D+ in every subset: the policy's earlier samples.
        max_passes: passes over all pairs; by default 4, and none after a leap of more than 12 pairs that raised r.
        generator: the order of the visits and the choices that are fitted; a fixed seed where none is given.

    Raises:
        DragonError: there are no pairs, or `value` returns NaN, infinities or another shape.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import select_positive
        >>> heights = torch.tensor([1.0, 5.0, 2.0, 4.0])
        >>> chosen = select_positive(2, lambda rows: heights[rows].sum(1))
        >>> chosen.positive.tolist(), chosen.value, chosen.swaps
        ([2, 1], 7.0, 1)
    """
    if pairs < 1:
        raise DragonError(f"a selection needs at least one pair of clips, not {pairs}")
    reward = _Reward(value, _indices(pool))
    generator = generator or torch.Generator().manual_seed(0)
    sets = torch.arange(2 * pairs).view(2, pairs)
    values = reward(sets)
    better = int(values[1] > values[0])
    split, current = torch.stack([sets[better], sets[1 - better]]), float(values[better])
    few = paired and pairs <= FEW
    leap = _best_of_few(split, reward, generator) if few else _climbed(split, reward, paired=paired)
    if leap is not None:
        split, current = _accepted(leap, split, current, reward)
    if max_passes is None:
        max_passes = 0 if current > values[better] and not few else PASSES
    for _ in range(max_passes):
        split = _visiting_order(split, generator, paired=paired)
        split, risen = _pass(split, current, reward)
        if paired and risen == current:
            break
        current = risen
    return _of_distribution(split, sets[better], current, float(values.mean()))


def exchange_losses(chosen: Selection, value: Callable[[Tensor], Tensor], *, pool: Tensor | None = None) -> Tensor:
    """Return what r(D+) loses when positive[i] and negative[i] trade places, (n,): how much each pair matters.

        loss_i = r(D+) - r(D+ without positive[i], with negative[i])

    Beside a pool, where one exchange changes little, losses are read off `value.expansion` if there is one, to within a
    percent of the largest; else every exchange is valued.

    Args:
        chosen: what `select_positive` chose.
        value: the reward of subsets that it chose by.
        pool: the clips that counted beside D+.

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import exchange_losses, select_positive
        >>> heights = torch.tensor([1.0, 5.0, 2.0, 4.0])
        >>> chosen = select_positive(2, lambda rows: heights[rows].sum(1))
        >>> exchange_losses(chosen, lambda rows: heights[rows].sum(1)).tolist()
        [1.0, 1.0]
    """
    reward, each = _Reward(value, _indices(pool)), torch.eye(len(chosen.positive))
    if len(reward.pool):
        expansion = reward.expansion(torch.cat([chosen.positive, chosen.negative]), torch.cat([each, -each], dim=1))
        if expansion is not None:
            return -expansion.rises(torch.full_like(expansion.slope, 0.5)).diagonal()
    return chosen.value - reward(torch.where(each > 0, chosen.negative[:, None], chosen.positive))


def negated(distance: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the reward of subsets that is minus their distance, with its expansion where the distance has one.

        r(D) = -distance(D)

    Example:
        >>> import torch
        >>> from dragon_rewards.metrics import Gaussian, dataset_fad_subsets, negated, select_positive
        >>> clips = [torch.tensor([[0.0], [2.0]]) + shift for shift in (0, 9, 7, 1)]
        >>> nearness = negated(dataset_fad_subsets(clips, Gaussian.fit(torch.tensor([[0.0], [3.0]]))))
        >>> select_positive(2, nearness).positive.tolist()
        [0, 3]
    """
    return _Negated(distance)


@dataclass(frozen=True)
class _Negated:
    distance: Callable[[Tensor], Tensor]

    def __call__(self, rows: Tensor) -> Tensor:
        return -self.distance(rows)

    @property
    def expansion(self) -> Callable[[Tensor, Tensor, Tensor], Expansion] | None:
        expand = getattr(self.distance, "expansion", None)
        return None if expand is None else lambda *about: -expand(*about)


@dataclass(frozen=True)
class _Reward:
    """The reward of candidate sets (k, n), each with the pool beside it: (k,) on the CPU, where selection decides."""

    value: Callable[[Tensor], Tensor]
    pool: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        values = self.value(torch.cat([rows, self.pool.expand(len(rows), -1)], dim=1))
        if values.shape != (len(rows),):
            raise DragonError(f"a reward of {len(rows)} subsets returned the shape {tuple(values.shape)}")
        values = values.detach().cpu()  # first, so that an accelerator is waited for once
        if not values.isfinite().all():
            raise DragonError("a reward of subsets returned NaN or infinite values")
        return values

    def expansion(self, clips: Tensor, moves: Tensor) -> Expansion | None:
        """Expand the reward about the mixture in which each of `clips` (k,) counts half and the pool whole.

        The moves are (moves, k); the result is None where the reward has no expansion.
        """
        expand = getattr(self.value, "expansion", None)
        if expand is None:
            return None
        weights = torch.cat([torch.full((len(clips),), 0.5), torch.ones(len(self.pool))])
        still = torch.zeros(len(moves), len(self.pool))
        expansion: Expansion = expand(torch.cat([clips, self.pool]), weights, torch.cat([moves, still], dim=1))
        return expansion


def _indices(pool: Tensor | None) -> Tensor:
    return torch.empty(0, dtype=torch.long) if pool is None else pool.cpu()


def _best_of_few(split: Tensor, reward: _Reward, generator: torch.Generator) -> Tensor:
    """Return the best of all exchanges of few pairs: those that a quadratic ranks highest are valued.

    Of equal ones it is the first in binary order, so that it does not depend on how their values are rounded.
    """
    pairs = split.shape[1]
    choices = (torch.arange(2**pairs).unsqueeze(1) >> torch.arange(pairs)) % 2 == 1
    if len(choices) > SHORTLIST:
        quadratic = _paired_expansion(split, reward) or _fitted(split, choices, reward, generator)
        choices = choices[quadratic.changes(choices.double() - 0.5).topk(SHORTLIST).indices.sort().values]
    candidates = _exchanged(split, choices)
    values = reward(candidates[:, 0])
    best = values.max()
    return candidates[int((values >= best - GAIN * best.abs()).int().argmax())]


def _fitted(split: Tensor, choices: Tensor, reward: _Reward, generator: torch.Generator) -> Expansion:
    """Fit an expansion in the exchanges of pairs to the values of some of the choices (k, n), by least squares."""
    pairs = choices.shape[1]
    rows, columns = torch.triu_indices(pairs, pairs, offset=1)
    drawn = choices[torch.randperm(len(choices), generator=generator)[: SAMPLES * (1 + pairs + len(rows))]]
    signs, values = drawn.double() - 0.5, reward(_exchanged(split, drawn)[:, 0]).double()
    terms = torch.cat([torch.ones(len(signs), 1), signs, signs[:, rows] * signs[:, columns]], dim=1)
    _, slope, products = torch.linalg.lstsq(terms, values).solution.split([1, pairs, len(rows)])
    curvature = torch.zeros(pairs, pairs, dtype=torch.float64)
    curvature[rows, columns] = curvature[columns, rows] = products / 2
    return Expansion(slope, curvature)


def _climbed(split: Tensor, reward: _Reward, *, paired: bool) -> Tensor | None:
    """Return the split after all exchanges at once that the expansion of the reward calls best; None if it has none."""
    clips, pairs = split.flatten(), split.shape[1]
    expansion = _paired_expansion(split, reward) if paired else reward.expansion(clips, torch.eye(2 * pairs))
    if expansion is None:
        return None
    sides = torch.tensor([0.5, -0.5]).repeat_interleave(pairs).to(expansion.slope)  # what the mixture lacks of D+
    signs = expansion.climb(sides[pairs:] if paired else sides, balanced=not paired)
    order = signs.argsort(descending=True, stable=True)
    return torch.where(signs > 0, split.flip(0), split) if paired else clips[order].view(2, -1)


def _paired_expansion(split: Tensor, reward: _Reward) -> Expansion | None:
    """Expand the reward in the exchanges of pairs: at -1/2 a pair is as in the split, at 1/2 it is exchanged."""
    each = torch.eye(split.shape[1])
    return reward.expansion(split.flatten(), torch.cat([-each, each], dim=1))


def _accepted(candidate: Tensor, split: Tensor, current: float, reward: _Reward) -> tuple[Tensor, float]:
    """Return the candidate if its reward is above `current`, the reward of the split; else the split."""
    risen = float(reward(candidate[:1]))
    return (candidate, risen) if risen - current > GAIN * abs(current) else (split, current)


def _visiting_order(split: Tensor, generator: torch.Generator, *, paired: bool) -> Tensor:
    """Shuffle the exchanges, the columns of D+ over D-; unpaired, also which clip each would be exchanged with."""
    pairs = split.shape[1]
    order = torch.randperm(pairs, generator=generator)
    partners = order if paired else torch.randperm(pairs, generator=generator)
    return torch.stack([split[0, order], split[1, partners]])


def _pass(split: Tensor, current: float, reward: _Reward) -> tuple[Tensor, float]:
    """Visit every exchange once, in blocks; return the split and its reward, never below `current`."""
    for block in torch.eye(split.shape[1], dtype=torch.bool).split(BLOCK):
        gains = reward(_exchanged(split, block)[:, 0]) - current
        improving = block[gains.argsort(descending=True, stable=True)][: int((gains > GAIN * abs(current)).sum())]
        if len(improving):
            split, current = _accepted(_best_together(split, improving, reward), split, current, reward)
    return split, current


def _best_together(split: Tensor, improving: Tensor, reward: _Reward) -> Tensor:
    """Return the best of exchanging the first, the first two, ... of `improving`: single gains need not add up."""
    candidates = _exchanged(split, improving.cumsum(0) > 0)
    return candidates[int(reward(candidates[:, 0]).argmax())]


def _exchanged(split: Tensor, choices: Tensor) -> Tensor:
    """Return splits (k, 2, n) in which the columns that a row of choices (k, n) holds True for have changed sides."""
    return torch.where(choices.unsqueeze(1), split.flip(0), split)


def _checked_values(values: Tensor) -> Tensor:
    if values.ndim != 1 or len(values) == 0 or len(values) % 2:
        raise DragonError(f"two sets of clips need a vector (2n,) of values, not the shape {tuple(values.shape)}")
    if values.isnan().any():
        raise DragonError(f"clip {int(values.isnan().int().argmax())} has the reward NaN, so it cannot be ranked")
    return values


def _of_instances(values: Tensor, positive: Tensor, negative: Tensor) -> Selection:
    swaps = int((positive >= len(positive)).sum())
    return Selection(positive, negative, float(values[positive].mean()), float(values.mean()), swaps)


def _of_distribution(split: Tensor, start: Tensor, value: float, mean: float) -> Selection:
    positive, negative = (side[(side % len(start)).argsort(stable=True)] for side in split)
    return Selection(positive, negative, value, mean, int((~torch.isin(positive, start)).sum()))
