"""Mixtures of rewards: weighted sums in which each reward is divided by its own standard deviation."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dragon_rewards.errors import ComposeError
from dragon_rewards.protocols import RewardKind
from dragon_rewards.rewards import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from dragon_rewards.media.media import Media
    from dragon_rewards.registry import Registry
    from dragon_rewards.rewards import AnyReward, Reward

TERM = re.compile(r"(?:(?P<weight>[0-9.eE+-]+)\s*\*\s*)?(?P<name>[^\s*]+)")
DRAWS = 64  # random subsets that the spread is estimated from, to a relative error of 1 / sqrt(2 * 64), about 9%


@dataclass(frozen=True)
class Mixture:
    """The weighted sum of several rewards of one set of clips, each divided by its standard deviation on those clips.

    The standard deviation of a per-clip reward is taken over the clips. If any of the rewards judges whole sets, each
    per-clip reward is replaced by its mean over a set, and all standard deviations are taken over random subsets of
    half of the clips. So the weights compare what selection can attain, whatever the units of the rewards are.

    The value of a mixture has no meaning outside its set of clips: it serves to choose among them, and is not reported.

    Attributes:
        parts: the rewards.
        weights: one factor for each reward, not all of them 0; a negative factor keeps a reward low.
    """

    parts: tuple[Reward, ...]
    weights: tuple[float, ...]

    @property
    def name(self) -> str:
        """The expression of the mixture, as `compose_mixture` reads it.

        >>> compose_mixture("0.5 * vendi:clap + clap-score:clap").name
        '0.5 * vendi:clap + clap-score:clap'
        """
        terms = zip(self.weights, self.parts, strict=True)
        return " + ".join(part.name if weight == 1 else f"{weight:g} * {part.name}" for weight, part in terms)

    @property
    def kind(self) -> RewardKind:
        """The kind of the mixture: it judges whole sets if one of its parts does, and otherwise clips."""
        kinds = {part.kind for part in self.parts}
        of_sets = RewardKind.DISTRIBUTION_TO_DISTRIBUTION
        return of_sets if of_sets in kinds else max(kinds)

    def value(self, clips: Media) -> Tensor:
        """Compute the mixture of each clip, (clips,), or of the whole set, (), if a part judges sets.

        The gradient reaches the clips through the rewards, and not through their standard deviations. Raises as the
        parts do.
        """
        import torch

        values = [part.value(clips) for part in self.parts]
        if self.kind.per_clip:
            terms = [weight * _in_spreads(value) for weight, value in zip(self.weights, values, strict=True)]
        else:
            with torch.no_grad():
                scales = self._scales(clips, [_of_subsets(part, clips) for part in self.parts])
            terms = [scale * value.mean() for scale, value in zip(scales, values, strict=True)]
        return torch.stack(terms).sum(0)

    def subsets(self, clips: Media) -> Callable[[Tensor], Tensor]:
        """Prepare to value many subsets of `clips`; raises as the parts do.

        Returns:
            A function from index rows (subsets, size) to values (subsets,).
        """
        prepared = [_of_subsets(part, clips) for part in self.parts]
        return _Sum(tuple(prepared), self._scales(clips, prepared))

    def _scales(self, clips: Media, prepared: Sequence[Callable[[Tensor], Tensor]]) -> tuple[float, ...]:
        """Return each weight over the standard deviation of its reward on random halves of the clips."""
        rows = _halves(len(clips), max(part.reduction.minimum_clips for part in self.parts))
        return tuple(weight / _spread(value(rows)) for weight, value in zip(self.weights, prepared, strict=True))


@dataclass(frozen=True)
class _Sum:
    """The sum of several values of index rows, each multiplied by its own factor."""

    values: tuple[Callable[[Tensor], Tensor], ...]
    scales: tuple[float, ...]

    def __call__(self, rows: Tensor) -> Tensor:
        first, *others = (scale * value(rows) for scale, value in zip(self.scales, self.values, strict=True))
        return sum(others, first)


@dataclass(frozen=True)
class _Means:
    """A per-clip reward turned into a reward of whole sets: its mean over the clips of a row."""

    values: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        return self.values[rows.to(self.values.device)].mean(-1)


def _of_subsets(part: Reward, clips: Media) -> Callable[[Tensor], Tensor]:
    return _Means(part.value(clips)) if part.kind.per_clip else part.subsets(clips)


def _halves(clips: int, least: int) -> Tensor:
    """Return index rows of random halves of the clips, at least `least` clips each; the draw is always the same."""
    import torch

    order = torch.rand(DRAWS, clips, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    return order[:, : max(clips // 2, least)]


def mean_and_spread(reward: Reward, clips: Media) -> tuple[float, float]:
    """Return the mean and the standard deviation of a reward over the clips.

    For a reward of whole sets both are taken over random halves of the clips. Where the values do not vary, 1 takes the
    place of the standard deviation.

    >>> import torch
    >>> from dragon_rewards.media.clips import Clips
    >>> mean, spread = mean_and_spread(compose("vendi:logmel"), Clips(torch.randn(6, 16_000), 16_000))
    >>> mean > 1, spread > 0
    (True, True)
    """
    values = reward.value(clips)
    if not reward.kind.per_clip:
        values = reward.subsets(clips)(_halves(len(clips), reward.reduction.minimum_clips))
    return float(values.detach().double().mean()), _spread(values)


def _spread(values: Tensor) -> float:
    """Return the standard deviation, or 1 if the values do not vary, as equal values do not affect a choice."""
    deviation = float(values.detach().double().std())
    return deviation if deviation > 0 else 1.0


def _in_spreads(values: Tensor) -> Tensor:
    return values / (_spread(values) if len(values) > 1 else 1.0)


def compose_mixture(expression: str, registry: Registry | None = None) -> AnyReward:
    """Build the reward of a name, or the mixture of an expression.

    Expressions are written as in "dataset-fad:clap@airs + 0.5 * clap-score:clap".

    Raises:
        ComposeError: a term is not of the form `[weight *] name`, a name does not compose, or a reward occurs twice.
        UnknownNameError: no plugin registered one of the parts.
    """
    terms = [_term(text, expression) for text in re.split(r"\s\+\s", expression)]
    parts = [compose(name, registry) for _, name in terms]
    if len({part.name for part in parts}) < len(parts):
        raise ComposeError(f"'{expression}' names a reward twice; add its weights up")
    if len(terms) == 1 and terms[0][0] == 1:
        return parts[0]
    return Mixture(tuple(parts), tuple(weight for weight, _ in terms))


def _term(text: str, expression: str) -> tuple[float, str]:
    match = TERM.fullmatch(text.strip())
    try:
        weight = float((match and match["weight"]) or 1)
    except ValueError:
        weight = math.nan
    if match is None or not math.isfinite(weight) or weight == 0:
        raise ComposeError(
            f"'{text}' in '{expression}' is no term: write [weight *] reward [+ ...], "
            "as in 'dataset-fad:clap@airs + 0.5 * clap-score:clap'"
        )
    return weight, match["name"]
