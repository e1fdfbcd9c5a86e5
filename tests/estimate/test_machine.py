"""Seconds from counts: published figures, measured curves, and the table of cards."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dragon_rewards.errors import UnknownNameError
from dragon_train.estimate.cards import Card, cards, find_card
from dragon_train.estimate.counting import ATTENTION, CONVOLUTION, FUNCTION, MATMUL, OTHER, VIEW, Cost, Count
from dragon_train.estimate.machine import (
    BANDWIDTH_SHARE,
    EFFICIENCY,
    HOST,
    Benchmarked,
    Curve,
    Published,
    benchmark,
)

CARD = Card("a card", memory=10, bandwidth=1000, bf16=100, fp32=10, source="invented here, for arithmetic")


@pytest.mark.parametrize("name", sorted(cards()))
def test_every_card_has_plausible_figures_and_a_source(name: str) -> None:
    card = find_card(name)
    assert 16 <= card.memory <= 300
    assert 200 <= card.bandwidth <= 10_000
    assert card.fp32 < card.bf16
    assert "http" in card.source


def test_a_card_that_is_not_in_the_table_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnknownNameError, match="h100"):
        find_card("h1000")


@pytest.mark.parametrize(
    ("kind", "dtype", "rate"),
    [
        (MATMUL, torch.bfloat16, 100e12),
        (MATMUL, torch.float32, 10e12),
        (CONVOLUTION, torch.float32, 50e12),  # as TF32
        (ATTENTION, torch.float16, 100e12),
    ],
)
def test_a_large_product_takes_what_the_sheet_says(kind: str, dtype: torch.dtype, rate: float) -> None:
    count = Count(Counter({Cost(kind, dtype, 10**13, 0): 2}))
    assert Published(CARD).seconds(count) == pytest.approx(2e13 / rate / EFFICIENCY[kind])


def test_small_operations_wait_for_the_host_and_large_ones_for_memory() -> None:
    small = Count(Counter({Cost(OTHER, torch.float32, 0, 100): 1000}))
    assert Published(CARD).seconds(small) == pytest.approx(1000 * HOST)
    large = Count(Counter({Cost(OTHER, torch.float32, 0, 10**12): 1}))
    assert Published(CARD).seconds(large) == pytest.approx(1 / BANDWIDTH_SHARE)


@given(st.floats(1, 1e9))
def test_a_curve_grows_and_passes_its_points(size: float) -> None:
    curve = Curve((10.0, 1e3, 1e6), (1e-6, 2e-6, 1e-3))
    assert [curve(point) for point in curve.sizes] == pytest.approx(list(curve.seconds))
    assert curve(size) <= curve(2 * size)
    assert curve(2e6) == pytest.approx(2e-3)
    assert curve(1) == 1e-6


@pytest.mark.slow
def test_a_benchmark_of_this_machine_knows_every_kind() -> None:
    machine = benchmark(torch.device("cpu"))
    assert isinstance(machine, Benchmarked)
    sizes = {FUNCTION: 0, MATMUL: 10**8, CONVOLUTION: 10**8, ATTENTION: 10**8, OTHER: 0, VIEW: 0}
    for kind, flops in sizes.items():
        for dtype in (torch.float32, torch.bfloat16, torch.int64):
            cost = Cost(kind, dtype, flops, 0 if kind == VIEW else 10**6)
            assert 0 < machine.seconds(Count(Counter({cost: 1}))) < 1
    assert machine.extra >= 0
    assert min(machine.slowdown.values()) >= 1
    assert "cpu" in machine.basis
