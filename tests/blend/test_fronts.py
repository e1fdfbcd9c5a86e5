"""Fronts: what is left after the dominated blends are gone rises in price with the reward."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dragon_train.blend.columns import DOMINATED, HELDOUT, REWARD, VARIETY
from dragon_train.blend.curves import PER_PART, UNIFORM, Blend
from dragon_train.blend.fronts import dominated, main_columns, table_of, taxes_of

FEW = st.integers(-3, 3).map(float)  # so that there are ties


@given(st.lists(st.tuples(FEW, FEW), min_size=1, max_size=12))
def test_the_front_is_monotone_and_every_other_point_is_beaten_by_one_of_it(points: list[tuple[float, float]]) -> None:
    marks = dominated(*zip(*points, strict=True))
    front = sorted({point for point, beaten in zip(points, marks, strict=True) if not beaten})
    assert front
    assert all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(front))
    for (gain, tax), beaten in zip(points, marks, strict=True):
        better = [other for other in front if other[0] >= gain and other[1] <= tax and other != (gain, tax)]
        assert bool(better) == beaten


def test_equal_blends_do_not_beat_each_other() -> None:
    assert dominated([1.0, 1.0], [2.0, 2.0]) == [False, False]


def test_each_tax_has_a_front_of_its_own() -> None:
    """More is better of the win rate and of the Vendi score; what was not measured is no tax."""
    blends = [
        Blend(UNIFORM, 0.0, (0.0, 0.0), {REWARD: 0.0, HELDOUT: 0.5, VARIETY: 9.0}),
        Blend(UNIFORM, 1.0, (1.0, 1.0), {REWARD: 2.0, HELDOUT: 0.4, VARIETY: 5.0}),
        Blend(PER_PART, 0.5, (0.3, 0.7), {REWARD: 1.0, HELDOUT: 0.6, VARIETY: 4.0}),
    ]
    table = table_of(blends)
    assert taxes_of(table) == [HELDOUT, VARIETY]
    assert table[DOMINATED].tolist() == [HELDOUT, "", VARIETY]
    assert table["part_2"].tolist() == [0.0, 1.0, 0.7]


def test_one_part_needs_no_column() -> None:
    table = table_of([Blend(UNIFORM, 0.0, (0.0,), {REWARD: 0.0, "win_rate": 0.5, VARIETY: 9.0})])
    assert main_columns(table) == ["kind", "share", REWARD, "win_rate", VARIETY, DOMINATED]
