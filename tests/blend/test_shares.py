"""Shares: what is read of them, and the candidates in which parts differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards.errors import ConfigError
from dragon_train.blend.shares import SHARES, candidates, inner, read_shares

HUNDREDTHS = st.integers(0, 100).map(lambda number: number / 100)


def test_shares_are_numbers_between_commas() -> None:
    assert read_shares(SHARES, "--shares") == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert inner(read_shares(" 1 , 0.25,0", "--shares")) == (0.25,)


@pytest.mark.parametrize("text", ["", "half", "0,,1", "1.01", "-0.1", "nan", "inf", "0;1"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--save: '.*' is no number from 0 \(untuned\) to 1 \(tuned\); give shares"):
        read_shares(text, "--save")


@given(HUNDREDTHS, st.integers(1, 9))
def test_candidates_keep_the_mean_and_are_shares(mean: float, parts: int) -> None:
    found = candidates(mean, parts)
    assert all(sum(each) / parts == pytest.approx(mean) and 0 <= min(each) <= max(each) <= 1 for each in found)
    assert len(set(found)) == len(found) <= 4 * parts
    assert all(len(set(each)) > 1 for each in found)


def test_three_parts_have_six_to_twelve() -> None:
    assert [len(candidates(mean, 3)) for mean in (0.2, 0.4, 0.6, 0.8)] == [6, 12, 12, 6]
    assert (0.4, 0.8, 0.0) in candidates(0.4, 3)
    assert candidates(0.5, 1) == candidates(0.0, 3) == []
    assert candidates(0.4, 2) == [(0.6, 0.2), (0.2, 0.6), (0.8, 0.0), (0.0, 0.8)]
