"""Who hears what: order, sides, repeats and identical pairs, by seed and seat."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dragon_rewards.errors import ConfigError
from dragon_rewards.evaluation.listening.plan import Clip, Kind, Pair, Plan, Side, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

PAIRS = 20


def plan(seed: int = 0, repeats: int = 4, identical: int = 3, pairs: int = PAIRS) -> Plan:
    clips = [Clip(f"{index}.wav", f"{index:064x}", 0.5) for index in range(2 * pairs)]
    return Plan(seed, repeats, identical, tuple(map(Pair, [None] * pairs, clips[::2], clips[1::2])))


def of_kind(trials: Sequence[Trial], kind: Kind) -> list[Trial]:
    return [trial for trial in trials if trial.kind is kind]


def test_every_seat_hears_every_pair_once_and_its_controls() -> None:
    for seat in range(50):
        trials = plan().trials(seat)
        assert len(trials) == plan().length == PAIRS + 7
        assert sorted(trial.pair for trial in of_kind(trials, Kind.PAIR)) == list(range(PAIRS))
        assert Counter(trial.left for trial in of_kind(trials, Kind.PAIR)) == {Side.A: 10, Side.B: 10}
        assert all(trial.right is trial.left for trial in of_kind(trials, Kind.IDENTICAL))
        assert len({trial.pair for trial in of_kind(trials, Kind.IDENTICAL)}) == 3


def test_a_repeat_comes_later_with_its_sides_swapped() -> None:
    for seat in range(50):
        trials = plan().trials(seat)
        repeats = of_kind(trials, Kind.REPEAT)
        assert len({trial.pair for trial in repeats}) == 4
        for repeat in repeats:
            (first,) = (trial for trial in of_kind(trials, Kind.PAIR) if trial.pair == repeat.pair)
            assert trials.index(first) < trials.index(repeat)
            assert (first.left, first.right) == (repeat.right, repeat.left)


def test_seed_and_seat_decide_the_order_and_nothing_else_does() -> None:
    assert plan().trials(3) == plan().trials(3)
    orders = {tuple(plan(seed).trials(seat)) for seed in range(5) for seat in range(5)}
    assert len(orders) == 25


def test_the_order_never_changes_between_versions() -> None:
    """Downloaded votes name a seat and a place: another order would give them another meaning."""
    trials = plan(seed=7, repeats=1, identical=1, pairs=3).trials(2)
    kinds = ["pair", "pair", "repeat", "pair", "identical"]
    assert [(trial.pair, trial.left) for trial in trials] == [(2, "b"), (1, "a"), (2, "a"), (0, "a"), (2, "b")]
    assert [trial.kind for trial in trials] == kinds


def test_sides_and_places_are_fair_over_seats() -> None:
    seats = [plan().trials(seat) for seat in range(400)]
    lefts = Counter(trial.left for trials in seats for trial in trials if trial.pair == 0 and trial.kind is Kind.PAIR)
    assert abs(lefts[Side.A] - 200) < 50  # 5 standard deviations of a fair coin
    firsts = Counter(trials[0].pair for trials in seats)
    assert len(firsts) == PAIRS


def test_a_plan_survives_the_file() -> None:
    assert Plan.from_json(plan().to_json(), "here") == plan()
    assert plan().digest != plan(seed=1).digest


def test_a_plan_of_before_lengths_were_kept_is_still_the_one_that_votes_name() -> None:
    assert "seconds" not in plan().to_json()
    assert plan().digest == "8005fbb37e32d777"
    assert plan().shortest(Trial(0, Kind.PAIR, Side.A)) == 0


def test_hearing_both_takes_the_sum_of_their_lengths() -> None:
    pair = Pair(None, Clip("a", "a" * 64, 1.0, 2.05), Clip("b", "b" * 64, 1.0, 4.05))
    made = Plan(0, 0, 1, (pair,))
    assert Plan.from_json(made.to_json(), "here") == made
    assert made.shortest(Trial(0, Kind.PAIR, Side.A)) == pytest.approx(0.95 * 6)
    assert made.shortest(Trial(0, Kind.IDENTICAL, Side.B)) == pytest.approx(0.95 * 8)


@pytest.mark.parametrize(("repeats", "identical"), [(3, 0), (-1, 0), (0, 6)])
def test_more_controls_than_pairs_are_refused(repeats: int, identical: int) -> None:
    plan(repeats=2, identical=3, pairs=3)
    with pytest.raises(ConfigError, match="--repeats" if identical == 0 else "--identical"):
        plan(repeats=repeats, identical=identical, pairs=4)
