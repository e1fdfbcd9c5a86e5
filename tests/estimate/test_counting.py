"""Counts of operations and of memory, against what is known of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from dragon_train.estimate.autocast import AsOnCuda
from dragon_train.estimate.counting import ATTENTION, ATTENTION_BACKWARD, CONVOLUTION, MATMUL, VIEW, Count, Counting
from dragon_train.estimate.hollow import empty, hollow_mode, weight_bytes


def hollow(network: nn.Module) -> nn.Module:
    empty(network.to("meta"), hollow_mode())
    return network


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_product_is_two_operations_for_each_term(rows: int, inner: int, columns: int) -> None:
    with Counting() as counting:
        torch.ones(rows, inner) @ torch.ones(inner, columns)
    (product,) = [cost for cost in counting.count.costs if cost.kind == MATMUL]
    assert product.flops == counting.count.flops == 2 * rows * inner * columns
    assert product.traffic == 4 * (rows * inner + inner * columns + rows * columns)


@pytest.mark.parametrize("real", [True, False], ids=["real", "hollow"])
def test_a_network_is_counted_as_torch_counts_it(real: bool) -> None:
    network = nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 14, 5))
    signal = torch.ones(2, 4, 16)
    with FlopCounterMode(display=False) as known:
        network(signal).sum().backward()
    if not real:
        network = hollow(network)  # type: ignore[assignment]
    with Counting() as counting:
        network(signal).sum().backward()
    assert counting.count.flops == known.get_total_flops()
    assert {MATMUL, CONVOLUTION, VIEW} <= {cost.kind for cost in counting.count.costs}


def test_attention_is_counted_on_the_cpu() -> None:
    """Two products of (queries, keys) with 8 values each, forward; five, back."""
    states = torch.ones(1, 2, 6, 8, requires_grad=True)
    with Counting() as counting:
        functional.scaled_dot_product_attention(states, states, states).sum().backward()
    costs = {cost.flops for cost in counting.count.costs if cost.kind in {ATTENTION, ATTENTION_BACKWARD}}
    assert costs == {2 * 2 * 2 * 6 * 6 * 8, 5 * 2 * 2 * 6 * 6 * 8}


def test_memory_is_what_is_alive_at_once() -> None:
    with Counting() as counting:
        a = torch.ones(1000)
        b = a + 1
        del a
        c = b.view(10, 100) * 2
        del b
    assert counting.count.peak == 8000
    assert counting.count.kept == 4000
    assert c.shape == (10, 100)
    del c
    assert counting.count.kept == 4000  # at the end of the block


def test_a_view_of_a_weight_is_the_weight_s_memory() -> None:
    network = hollow(nn.Linear(50, 20))
    with torch.no_grad(), Counting() as counting:
        answer = network(torch.ones(1, 50))
    assert counting.count.peak <= 4 * (50 + 2 * 20)
    assert answer.shape == (1, 20)


def test_what_autograd_keeps_lives_until_it_is_used() -> None:
    layers = hollow(nn.Sequential(*[nn.Sequential(nn.Linear(50, 50), nn.Tanh()) for _ in range(4)]))
    signal = torch.ones(100, 50)
    with Counting() as forward:
        kept = layers(signal)
    assert forward.count.kept == 4 * 100 * 50 * 4  # each layer's tanh, which is the next one's input
    with torch.no_grad(), Counting() as free:
        layers(signal)
    assert free.count.peak < forward.count.peak
    assert kept.shape == (100, 50)


def test_a_value_that_nobody_knows_is_one() -> None:
    with hollow_mode():
        unknown = torch.empty(3)
    with Counting():
        assert unknown.isfinite().all()
        assert float(unknown.sum()) == 1.0


def test_counts_add_up() -> None:
    with Counting() as counting:
        torch.ones(4, 4) @ torch.ones(4, 4)
    count = counting.count
    assert count.times(3).flops == 3 * count.flops
    assert count.then(count).flops == 2 * count.flops
    assert count.then(count).peak == count.kept + count.peak
    assert count.then(count).without(count).flops == count.flops
    assert Count().flops == 0


def test_tied_weights_are_held_once() -> None:
    network = nn.Sequential(nn.Linear(10, 10, bias=False), nn.Linear(10, 10, bias=False))
    assert weight_bytes(network) == 800
    network[1].weight = network[0].weight
    assert weight_bytes(network) == 400


def test_autocast_keeps_in_float32_what_cuda_keeps() -> None:
    states = torch.ones(2, 8, dtype=torch.bfloat16)
    for network, kept in ((nn.LayerNorm(8), True), (nn.Softmax(-1), True), (nn.Linear(8, 8), False)):
        with torch.autocast("cpu", torch.bfloat16), AsOnCuda():
            assert (network(states).dtype == torch.float32) == kept
        with AsOnCuda():
            assert network.bfloat16()(states).dtype == torch.bfloat16
