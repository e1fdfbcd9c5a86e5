"""Intervals of changes: of sets held against closed forms and by their coverage, of clips against scipy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy import stats
from support.parts import RATE, noise
from torch import Tensor

from dragon_rewards.errors import TooFewClipsError
from dragon_rewards.evaluation import Interval, clip_change, set_change, set_interval
from dragon_rewards.evaluation.changes import DEVIATIONS, random_halves
from dragon_rewards.media.clips import Clips
from dragon_rewards.registry import load_registry
from dragon_rewards.rewards import compose

SIMULATIONS, PROMPTS = 300, 60
BOUND = stats.binom.isf(1e-3, SIMULATIONS, 0.05) / SIMULATIONS  # misses of a 95% interval: more in one of 1,000 tests
FINITE = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


def mean_of(clips: ArrayLike) -> Callable[[Tensor], Tensor]:
    values = torch.as_tensor(np.asarray(clips))
    return lambda rows: values[rows].mean(1)


def half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def models(seed: int, shift: float = 0.5) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Normal clips of two models, which share most of a prompt: (2, prompts)."""
    generator = np.random.default_rng(seed)
    own = 0.5 * generator.normal(size=(2, PROMPTS))
    own[1] += shift
    return own + generator.normal(size=PROMPTS)


@given(st.lists(FINITE, min_size=8, max_size=41))
@settings(max_examples=40, deadline=None)
def test_of_a_mean_the_halves_give_its_standard_error(values: list[float]) -> None:
    """Of an even number of clips and of an odd one, of which a half leaves more out than it keeps."""
    after = np.arange(len(values)) + np.array(values)
    got = set_change(mean_of([*values, *after]), len(values), halves=4000)
    for interval, clips in ((got.before, np.array(values)), (got.after, after), (got.change, after - values)):
        error = DEVIATIONS * clips.std(ddof=1) / math.sqrt(len(clips))
        assert interval.mean == pytest.approx(clips.mean(), abs=1e-9)
        assert half_width(interval) == pytest.approx(error, rel=0.07, abs=1e-9)


def test_of_a_median_the_halves_give_its_standard_error_too() -> None:
    """The jackknife that leaves out one clip does not: a median is not smooth."""

    def median_of(clips: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda rows: clips[rows].quantile(0.5, dim=1)

    values = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 200)))
    widths = [half_width(set_change(median_of(clips), 100, halves=200).before) for clips in values]
    assert np.mean(widths) == pytest.approx(DEVIATIONS * math.sqrt(math.pi / 2 / 100), rel=0.15)


@pytest.mark.parametrize("part", ["before", "after", "change"])
def test_intervals_of_normal_means_cover_them(part: str) -> None:
    true = {"before": 0.0, "after": 0.5, "change": 0.5}[part]
    found = [
        getattr(set_change(mean_of(models(seed).ravel()), PROMPTS, halves=100), part) for seed in range(SIMULATIONS)
    ]
    missed = np.mean([not interval.low <= true <= interval.high for interval in found])
    assert 0.02 <= missed <= BOUND


def test_what_both_models_share_of_a_prompt_cancels_in_the_change() -> None:
    before, after = models(seed=0)
    of_sets = set_change(mean_of([*before, *after]), PROMPTS)
    of_clips = clip_change(before, after, np.arange(PROMPTS))
    for got in (of_sets, of_clips):
        assert half_width(got.change) < 0.8 * half_width(got.after)
    assert half_width(of_sets.change) == pytest.approx(half_width(of_clips.change), rel=0.1)


@given(st.integers(4, 30), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_the_change_turns_round_with_the_models(pairs: int, seed: int) -> None:
    before, after = np.random.default_rng(seed).normal(size=(2, pairs))
    there, back = (set_change(mean_of([*a, *b]), pairs, 50, seed) for a, b in ((before, after), (after, before)))
    assert (there.before, there.after) == (back.after, back.before)
    assert (there.change.low, there.change.high) == pytest.approx((-back.change.high, -back.change.low))
    same = set_change(mean_of([*before, *before]), pairs, 50, seed).change
    assert same == Interval(0.0, 0.0, 0.0)


@given(st.integers(2, 40), st.integers(2, 20))
def test_halves_are_drawn_without_replacement(pairs: int, halves: int) -> None:
    rows = random_halves(pairs, halves, seed=0)
    assert rows.shape == (halves, pairs // 2)
    assert all(len(set(row)) == pairs // 2 for row in rows.tolist())
    assert set(rows.ravel().tolist()) <= set(range(pairs))


def test_a_real_reward_of_sets() -> None:
    """Ten clips are more diverse than ten times the same one, and a half of each says so."""
    different, alike = noise(10), noise(1, seed=1).repeat(10, 1)
    reward = compose("vendi:logmel", load_registry())
    value = reward.subsets(Clips.concatenate([Clips(alike, RATE), Clips(different, RATE)]))
    got = set_change(value, 10, halves=50)
    assert got.before.mean == pytest.approx(1)
    assert got.after.mean == pytest.approx(float(value(torch.arange(10, 20)[None])))
    assert got.change.low > 0
    with pytest.raises(TooFewClipsError):
        set_change(value, 2, halves=50)  # a half is one clip, of which nothing varies


def test_the_change_of_clips_agrees_with_scipy() -> None:
    before, after = models(seed=1)
    got = clip_change(before, after, np.arange(PROMPTS))
    for interval, values in ((got.before, before), (got.after, after), (got.change, after - before)):
        theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=1).confidence_interval
        assert (interval.mean, interval.low, interval.high) == pytest.approx((values.mean(), *theirs), abs=0.03)


def test_changes_of_nothing_are_refused() -> None:
    for pairs, halves in ((1, 50), (4, 1)):
        with pytest.raises(ValueError, match="give 2 or more of both"):
            set_change(mean_of(np.zeros(2 * pairs)), pairs, halves)
    with pytest.raises(ValueError, match="as many values before as after"):
        clip_change([1.0, 2.0], [1.0], ["a", "b"])


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(deadline=None, max_examples=20)
def test_one_set_has_the_interval_that_it_has_beside_another(seed: int, clips: int) -> None:
    values = torch.randn(2 * clips, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    beside = set_change(lambda rows: values[rows].std(1, unbiased=False), clips)
    assert set_interval(lambda rows: values[rows].std(1, unbiased=False), clips) == beside.before
    assert set_interval(lambda rows: values[clips + rows].std(1, unbiased=False), clips) == beside.after


def test_an_interval_takes_two_clips() -> None:
    with pytest.raises(ValueError, match="400 halves of 1 clip"):
        set_interval(lambda rows: rows.double().mean(1), 1)
