"""Constraints that a share of the clips may break: the share that they end with, beside multipliers and beside none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.coordinates import Along, clips_of

from dragon_rewards.media.media import Media
from dragon_train.loop.loop import Constraints
from dragon_train.loop.shares import ALLOWED, ShareConstraints

REWARD, KEPT = Along((1.0, 0.0)), Along((-0.8, 0.6))  # four fifths of a gain in the reward are lost of the other
STEPS, LAST = 80, 20


@dataclass
class Course:
    """A run's course: of each step the share of clips below the untuned model's lowest quarter, and the mean lead."""

    broken: list[float]
    lead: list[float]


def course(constraints: Any, clips: int, rate: float) -> Course:
    """Learn the mean of a Gaussian by pairs: it moves from losers to winners, which is the gradient of DPO at beta 0.

    The untuned clips have the same seeds, which are the noise.
    """
    found, mean = Course([], []), torch.zeros(2, dtype=torch.float64)
    for step in range(STEPS):
        noise = torch.randn(2, clips, 2, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        untuned, target = clips_of(noise[0]), constraints.around(REWARD)
        constraints.begin(untuned)
        one, other = points = noise + mean
        values = target.value(Media.concatenate([clips_of(one), clips_of(other)]))
        won = (values[:clips] > values[clips:])[:, None]
        constraints.update(clips_of(one), untuned)
        found.broken.append(float((KEPT.value(clips_of(one)) < KEPT.value(untuned).quantile(ALLOWED)).double().mean()))
        found.lead.append(float(KEPT.value(clips_of(mean[None]))))
        mean = mean + rate * torch.where(won, points[0] - points[1], points[1] - points[0]).mean(0)
    return found


@pytest.mark.parametrize("clips", [16, 64])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2])
def test_the_share_ends_where_it_may_and_swings_less_than_by_a_multiplier(clips: int, rate: float) -> None:
    kept: Any = [KEPT]
    free, multiplied, shared = (
        course(rule, clips, rate) for rule in (Constraints([]), Constraints(kept), ShareConstraints(kept))
    )
    ends = [sum(each.broken[-LAST:]) / LAST for each in (free, shared)]
    assert ends[0] > ALLOWED + 0.5
    assert ends[1] == pytest.approx(ALLOWED, abs=0.05)
    assert max(shared.lead) < 0.8 * max(multiplied.lead)
