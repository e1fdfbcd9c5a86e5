"""Tell how fast a device is: by short runs of each kind of operation on one that is here, or by a data sheet."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from time import monotonic, process_time
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from dragon_rewards.compute.devices import wait_for
from dragon_train.estimate.counting import (
    ATTENTION,
    ATTENTION_BACKWARD,
    CONVOLUTION,
    FUNCTION,
    MATMUL,
    OTHER,
    VIEW,
    Cost,
    Count,
    Counting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dragon_train.estimate.cards import Card

GIGA, TERA = 1e9, 1e12
LAYERS = 4  # of the network that tells how cold memory is when it is needed again
# What a pipeline takes on a CPU beside the operations of its networks: its own Python, pages of memory that are fresh.
# It was 1.2 to 1.4 on five of the six pipelines of reports/guide/estimate.md, and 1.8 on one whose step takes 60 ms.
AROUND = 1.3
SHORTEST = 0.01  # seconds that each operation is repeated for
WIDTHS = (4, 16, 64, 160, 320, 1024)
LENGTHS = (2**8, 2**14, 2**18, 2**22, 2**24)
ALIVE = 8  # results of elementwise operations at once
SOFTMAX = (
    28  # of a head's width, what the softmax of a narrow one costs as much as, measured on a CPU at widths of 4 and 8
)
# Assumed shares of what a card's sheet states.
EFFICIENCY = {MATMUL: 0.5, ATTENTION: 0.4, ATTENTION_BACKWARD: 0.3, CONVOLUTION: 0.3}
BANDWIDTH_SHARE, HOST = 0.7, 1e-5  # an assumed share, too; and the seconds in which Python starts an operation


class Machine(Protocol):
    """A device that turns counts into seconds."""

    @property
    def basis(self) -> str:
        """Where the speeds of the device are from, in words."""
        ...

    def seconds(self, count: Count) -> float:
        """Return the seconds that some counted code takes."""
        ...


@dataclass(frozen=True)
class Published:
    """A card that is not here: its published figures, of which assumed shares are reached.

    Attributes:
        card: the card with its figures.
    """

    card: Card

    @property
    def basis(self) -> str:
        """The name of the card, and the shares of its figures that are assumed to be reached."""
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in EFFICIENCY.items())
        return (
            f"{self.card.name}, by its data sheet; assumed to be reached: {shares}, memory {BANDWIDTH_SHARE:.0%}, "
            f"and {HOST * 1e6:.0f} us to start an operation"
        )

    def seconds(self, count: Count) -> float:
        """Return the seconds of the slower one: the host, which starts operations, or the card, which computes them."""
        host = HOST * sum(count.costs.values())
        return max(host, sum(times * self.device_seconds(cost) for cost, times in count.costs.items()))

    def device_seconds(self, cost: Cost) -> float:
        """Return the seconds of one operation on the card, which is bound by arithmetic or by memory."""
        moved = cost.traffic / (BANDWIDTH_SHARE * self.card.bandwidth * GIGA)
        return max(moved, cost.flops / (EFFICIENCY[cost.kind] * self.rate(cost))) if cost.flops else moved

    def rate(self, cost: Cost) -> float:
        """Return the published operations a second for the kind and type of an operation.

        Torch lets convolutions in float32 use TF32, at half the rate of bf16.
        """
        if cost.dtype in {torch.bfloat16, torch.float16}:
            return self.card.bf16 * TERA
        return (self.card.bf16 / 2 if cost.kind == CONVOLUTION else self.card.fp32) * TERA


@dataclass(frozen=True)
class Curve:
    """The seconds of one kind of operation by its size, between measured points straight in logarithms.

    Attributes:
        sizes: the sizes of the points, rising.
        seconds: the seconds at each point.
    """

    sizes: Sequence[float]
    seconds: Sequence[float]

    def __call__(self, size: float) -> float:
        """Return the seconds at a size: in proportion beyond the largest point, constant below the smallest."""
        if size <= self.sizes[0]:
            return self.seconds[0]
        if size >= self.sizes[-1]:
            return self.seconds[-1] * size / self.sizes[-1]
        after = bisect_left(self.sizes, size)
        (x0, x1), (y0, y1) = self.sizes[after - 1 : after + 1], self.seconds[after - 1 : after + 1]
        share = math.log(size / x0) / math.log(x1 / x0)
        return float(y0 * (y1 / y0) ** share)


@dataclass(frozen=True)
class Benchmarked:
    """A device that is here, as fast as a benchmark found it a moment ago.

    Attributes:
        device: the device.
        curves: for each kind and type of operation, the seconds by flops, or by bytes.
        extra: the further seconds of each operation: what modules and autograd do in Python.
        slowdown: by type, how much slower operations are that follow one another on cold memory than the same one again
            and again.
    """

    device: torch.device
    curves: Mapping[tuple[str, torch.dtype], Curve]
    extra: float = 0.0
    slowdown: Mapping[torch.dtype, float] = field(default_factory=dict)

    @property
    def basis(self) -> str:
        """The name of the device, and how its speed was found."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return f"{name}, by a benchmark of a few seconds ({torch.get_num_threads()} threads)"

    def seconds(self, count: Count) -> float:
        """Return the seconds of all counted operations, and on a CPU of what a pipeline does around them."""
        around = AROUND if self.device.type == "cpu" else 1.0
        return around * self.operations(count)

    def operations(self, count: Count) -> float:
        """Return the seconds of all counted operations alone, one after the other."""
        return sum(times * self.of_one(cost) for cost, times in count.costs.items())

    def of_one(self, cost: Cost) -> float:
        """Return the seconds that one operation takes on the device."""
        dtype = cost.dtype if (cost.kind, cost.dtype) in self.curves else torch.float32
        cold = self.slowdown.get(dtype, 1.0)
        return self.extra + cold * cost.heads * self.curves[cost.kind, dtype](size_of(cost))


def benchmark(device: torch.device) -> Benchmarked:
    """Time every kind of operation at several sizes, in float32 and bfloat16, then networks as a whole."""
    curves = {(VIEW, torch.float32): curve(device, [view])}
    for dtype in (torch.float32, torch.bfloat16):
        products = {MATMUL: product, CONVOLUTION: convolution, ATTENTION: attention, ATTENTION_BACKWARD: backward}
        for kind, run in products.items():
            curves[kind, dtype] = curve(device, [partial(run, width, dtype) for width in WIDTHS])
        curves[OTHER, dtype] = curve(device, [partial(elementwise, length, dtype) for length in LENGTHS])
        curves[FUNCTION, dtype] = curve(device, [partial(activation, length, dtype) for length in LENGTHS])
    bare = Benchmarked(device, curves)
    taken, count = network(1, (8, 8, 16), torch.float32, device)
    extra = max(0.0, (taken - bare.operations(count)) / sum(count.costs.values()))
    warm = replace(bare, extra=extra)
    return replace(warm, slowdown={dtype: slowdown_of(warm, dtype) for dtype in (torch.float32, torch.bfloat16)})


def slowdown_of(warm: Benchmarked, dtype: torch.dtype) -> float:
    """Return how many times longer a network takes than its operations do, each by itself."""
    taken, count = network(LAYERS, (16, 80, 160), dtype, warm.device)
    return max(1.0, taken / warm.operations(count))


def size_of(cost: Cost) -> float:
    """Return what the time of an operation goes by: flops, or bytes; for an attention, the flops of one head.

    An attention's softmax counts as wider heads would.
    """
    wider = (cost.width + SOFTMAX) / cost.width if cost.width else 1.0
    return cost.flops * wider / cost.heads or cost.traffic


def curve(device: torch.device, makers: Sequence[Callable[[torch.device], Callable[[], object]]]) -> Curve:
    """Time what each maker makes, by its flops, or by its bytes."""
    points = []
    for make in makers:
        run = make(device)
        with torch.no_grad(), Counting() as counting:
            run()
        cost, times = max(counting.count.costs.items(), key=lambda each: size_of(each[0]))  # others are views
        with torch.no_grad():
            points.append((size_of(cost) or 1, timed(run, device) / times / cost.heads))
    return Curve(*zip(*sorted(points), strict=True))


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one run: the median of three rounds."""
    run()
    times = 1
    while stopwatch(run, times, device) < SHORTEST:
        times *= 2
    return median(stopwatch(run, times, device) for _ in range(3)) / times


def stopwatch(run: Callable[[], object], times: int, device: torch.device) -> float:
    """Return the seconds of `times` runs, on an accelerator until it has done all that it was given."""
    start = now(device)
    for _ in range(times):
        run()
    return now(device) - start


def now(device: torch.device) -> float:
    """Return the time in seconds.

    On the CPU with one thread it is the time of this process alone, so that other processes do not count.
    """
    wait_for(device)
    return process_time() if device.type == "cpu" and torch.get_num_threads() == 1 else monotonic()


def product(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make a product of states with a square layer's weights, which lie in memory the other way round."""
    weights = torch.ones(width, width, dtype=dtype, device=device)
    return partial(torch.mm, torch.ones(4 * width, width, dtype=dtype, device=device), weights.t())


def convolution(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make a convolution of a signal of many samples, with seven taps."""
    channels = min(width, 256)
    signal = torch.ones(1, channels, 4 * width, dtype=dtype, device=device)
    return partial(functional.conv1d, signal, torch.ones(channels, channels, 7, dtype=dtype, device=device), padding=3)


def attention(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make an attention of heads of width 64, many where they are short, so that a head is timed and not the call."""
    states = torch.ones(1, heads_of(width), width, 64, dtype=dtype, device=device)
    return partial(functional.scaled_dot_product_attention, states, states, states)


def heads_of(width: int) -> int:
    """Return the number of heads that are timed at once, with so many positions each."""
    return max(4, 1024 // width)


def backward(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make the backward pass of the attention that `attention` makes."""
    states = torch.ones(1, heads_of(width), width, 64, dtype=dtype, device=device, requires_grad=True)
    with torch.enable_grad():
        queries, keys, values = states.clone(), states.clone(), states.clone()
        found = functional.scaled_dot_product_attention(queries, keys, values)
    return partial(torch.autograd.grad, found, (queries, keys, values), torch.ones_like(found), retain_graph=True)


def elementwise(length: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make a product of every element with itself, into fresh memory, as the layers of a network have it."""
    values = torch.ones(length, dtype=dtype, device=device)
    return lambda: [torch.mul(values, values) for _ in range(ALIVE)]


def activation(length: int, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    """Make a function of every element, into fresh memory."""
    values = torch.ones(length, dtype=dtype, device=device)
    return lambda: [functional.gelu(values) for _ in range(ALIVE)]


def view(device: torch.device) -> Callable[[], object]:
    """Make a view of a tensor, which computes nothing."""
    return partial(torch.ones(4, 4, device=device).view, 16)


def network(layers: int, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> tuple[float, Count]:
    """Time transformer layers of diffusers and a convolution, forward and backward, and count what they consist of.

    Args:
        layers: the number of transformer layers.
        shape: the shape of their tokens, (clips, length, width).
        dtype: the type of weights and tokens.
        device: the device of both.
    """
    from diffusers.models.attention import BasicTransformerBlock

    _, length, width = shape
    blocks = [BasicTransformerBlock(width, num_attention_heads=4, attention_head_dim=width // 4) for _ in range(layers)]
    stack = torch.nn.Sequential(*blocks).to(device, dtype)
    mixing = torch.nn.Conv1d(length, length, 7, padding=3, device=device, dtype=dtype)
    tokens = torch.ones(shape, device=device, dtype=dtype)

    def run() -> None:
        functional.gelu(mixing(stack(tokens))).square().mean().backward()

    run()
    with Counting() as counting:
        run()
    return timed(run, device), counting.count
