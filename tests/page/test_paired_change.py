"""The change over the pairs of a page against Student's paired interval, and the ticks of spectrograms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from dragon_rewards.media.clips import Clips
from dragon_rewards.rewards import compose
from dragon_train.bench.report.paired_change import paired_change
from dragon_train.bench.report.pairs import judge
from dragon_train.bench.report.spectrogram import log_mel, pitch_ticks, spectrogram, time_ticks

VALUES = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=12)


@given(VALUES)
def test_of_a_mean_it_is_students_paired_interval(pairs: list[tuple[float, float]]) -> None:
    before, after = np.array(pairs).T
    changes, others = after - before, len(pairs) - 1
    found = paired_change(before.mean(), after.mean(), (changes.sum() - changes) / others, 1)
    if np.ptp(changes) > 1e-6:
        wanted = ttest_rel(after, before).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    assert found.noise == (found.low <= 0 <= found.high)
    assert found.change == pytest.approx(changes.mean(), abs=1e-9)


def test_one_pair_shows_nothing() -> None:
    found = paired_change(1.0, 2.0, [0.0], 1)
    assert found.noise
    assert found.better
    assert np.isnan([found.low, found.high]).all()


def clips(seed: int) -> Clips:
    """Five seconds of noise, of different loudness, of six clips."""
    noise = torch.randn(6, 1, 16_000, generator=torch.Generator().manual_seed(seed))
    return Clips(tuple(noise * torch.logspace(-2, -0.5, 6)[:, None, None]), 16_000)


def test_of_a_set_the_change_is_the_sets_and_a_pair_counts_by_what_is_left_without_it() -> None:
    reward, before, after = compose("vendi:logmel"), clips(0), clips(1)
    _, found = judge(reward, before, after)
    assert found.change == pytest.approx(float(reward.metric(after) - reward.metric(before)))
    without = []
    for left_out in range(6):
        kept = [clip for clip in range(6) if clip != left_out]
        subset = [Clips(tuple(side.media[clip] for clip in kept), 16_000) for side in (before, after)]
        without.append(float(reward.metric(subset[1]) - reward.metric(subset[0])))
    spread = np.sqrt(5 / 6 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert found.high - found.change == pytest.approx(2.5706 * spread, rel=1e-4)  # Student's t, 5 degrees of freedom


def test_the_ticks_of_a_spectrogram_lie_on_its_tones() -> None:
    """The brightest row of a tone is the row of its tick, and a click is in the column of its time."""
    rate, seconds = 16_000, 4
    times = torch.arange(seconds * rate) / rate
    for tick, pitch in zip(pitch_ticks(rate / 2), (500, 1_000, 2_000, 4_000), strict=True):
        picture = np.asarray(spectrogram(log_mel(torch.sin(2 * torch.pi * pitch * times), rate)), float)
        assert abs(picture.mean(1).argmax() + 0.5 - tick.place * len(picture)) <= 1
    clicks = torch.zeros(seconds * rate)
    clicks[3 * rate] = 1.0
    picture = np.asarray(spectrogram(log_mel(clicks, rate)), float)
    place = next(tick.place for tick in time_ticks(seconds) if tick.text == "3")
    assert abs(picture.mean(0).argmax() + 0.5 - place * picture.shape[1]) <= 4


@given(st.floats(0.05, 2_000))
def test_time_has_a_few_ticks_that_lie_in_the_picture(seconds: float) -> None:
    ticks = time_ticks(seconds)
    assert all(0 <= tick.place <= 1 + 1e-9 for tick in ticks)
    assert len({tick.text for tick in ticks}) == len(ticks) <= 7
