"""The second device refuses what CUDA refuses, allows what CUDA allows, and has a mode without float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.devices.operators import FORWARD, normal
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from dragon_rewards.compute.devices import has_float64, statistics_device

if TYPE_CHECKING:
    from collections.abc import Callable

SAME = r"Expected all tensors to be on the same device"
TWO = SAME + ", but found at least two devices"
DIFFERENT = SAME + r", but got {} is on cpu, different from other tensors on second:0 \(when checking argument"

# `x` is on the second device and `y` on the CPU, both (4, 4).
REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "add": (lambda x, y: x + y, TWO + ", second:0 and cpu!"),
    "add to the CPU's": (lambda x, y: y + x, TWO),
    "compare": (lambda x, y: x < y, TWO),
    "add in place": (lambda x, y: x.add_(y), TWO),
    "add in place to the CPU's": (lambda x, y: y.add_(x), TWO),
    "add in place to a number of the CPU's": (lambda x, y: y.sum().add_(x.sum()), TWO),
    "where": (lambda x, y: torch.where(x > 0, x, y), TWO),
    "where, by a mask of the CPU": (lambda x, y: torch.where(y > 0, x, x), TWO),
    "fill by a mask of the CPU": (lambda x, y: x.masked_fill(y > 0, 0.0), SAME + "|mask"),
    "matmul": (lambda x, y: x @ y, DIFFERENT.format("mat2")),
    "addmm": (lambda x, y: torch.addmm(y, x, x), DIFFERENT.format("self")),
    "bmm": (lambda x, y: x[None] @ y[None], DIFFERENT.format("mat2")),
    "dot": (lambda x, y: x[0] @ y[0], SAME),
    "linear": (functional.linear, SAME),
    "cat": (lambda x, y: torch.cat([x, y]), DIFFERENT.format("tensors")),
    "stack": (lambda x, y: torch.stack([x, y]), DIFFERENT.format("tensors")),
    "cat of numbers": (lambda x, y: torch.stack([x.sum(), y.sum()]), DIFFERENT.format("tensors")),
    "gather": (lambda x, y: x.gather(0, y.argsort(0)), DIFFERENT.format("index")),
    "scatter": (lambda x, y: x.scatter(0, x.argsort(0), y), DIFFERENT.format("src")),
    "index_select": (lambda x, y: x.index_select(0, y[0].argsort()), DIFFERENT.format("index")),
    "embedding": (lambda x, y: functional.embedding(y.argsort(0), x), DIFFERENT.format("index")),
    "index of the CPU's by the device's": (lambda x, y: y[x[0].argsort()], "indices should be|" + TWO),
    "put the CPU's values": (lambda x, y: x.index_put_((x[0].argsort(),), y), TWO),
    "searchsorted": (lambda x, y: torch.searchsorted(y[0].sort()[0], x), "same device"),
    "clamp at a number of the CPU's": (lambda x, y: x.clamp(max=y.sum()), DIFFERENT.format("max")),
    "convolution": (lambda x, y: functional.conv1d(x[None], y[..., None]), DIFFERENT.format("weight")),
    "attention": (lambda x, y: functional.scaled_dot_product_attention(x, y, y), "same device"),
    "attention's mask": (lambda x, y: functional.scaled_dot_product_attention(x, x, x, y > 0), SAME),
    "layer norm": (lambda x, y: functional.layer_norm(x, (4,), y[0], y[0]), SAME),
    "loss": (functional.mse_loss, SAME),
    "solve": (torch.linalg.solve, "same device"),
    "window": (lambda x, y: torch.stft(x, 4, window=y[0], return_complex=True), "stft input and window must be on"),
    "lstm": (lambda x, _: nn.LSTM(4, 4)(x), "same device|Input and parameter tensors"),
    "out": (lambda x, y: torch.add(x, x, out=y), TWO),
    "foreach": (lambda x, y: torch._foreach_add([x], [y]), TWO),
    "numpy": (lambda x, _: x.numpy(), "can't convert second:0 device type tensor to numpy"),
    "generator": (lambda x, _: x.normal_(generator=torch.Generator()), "Expected a 'second' device type for generator"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mixing_with_the_cpu_is_refused(name: str, second: torch.device) -> None:
    function, message = REFUSED[name]
    with pytest.raises((RuntimeError, TypeError), match=message):
        function(normal(4, 4).to(second), normal(4, 4))


@pytest.mark.parametrize("name", ["add", "matmul", "cat", "gather", "where", "attention", "convolution", "foreach"])
def test_mixing_two_devices_is_refused(name: str, second: torch.device, other: torch.device) -> None:
    with pytest.raises(RuntimeError, match="same device"):
        REFUSED[name][0](normal(4, 4).to(second), normal(4, 4).to(other))


# `x` is on the second device; `n` is a number and `i` are positions, both of the CPU.
ALLOWED: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "add a number": lambda x, n, _: x + n,
    "add to a number": lambda x, n, _: n - x,
    "add a number in place": lambda x, n, _: x.clone().mul_(n),
    "compare with a number": lambda x, n, _: x < n,
    "where a number": lambda x, n, _: torch.where(x > 0, x, n),
    "fill with a number": lambda x, n, _: x.masked_fill(x > 0, n),
    "power": lambda x, n, _: x.abs() ** n,
    "index by the CPU's positions": lambda x, _, i: x[i],
    "index by the CPU's mask": lambda x, _, i: x[i > 0],
    "put at the CPU's positions": lambda x, n, i: x.clone().index_put_((i,), n),
    "set where the CPU says": lambda x, n, i: x.clone().index_put_((i > 0,), n),
    "copy": lambda x, n, _: x.clone().copy_(n),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_takes_from_the_cpu_is_taken(name: str, second: torch.device) -> None:
    values, number, positions = normal(3, 4), torch.tensor(0.25), torch.tensor([2, 0, 1])
    found = ALLOWED[name](values.to(second), number, positions)
    assert found.device == second
    torch.testing.assert_close(found.cpu(), ALLOWED[name](values, number, positions))


WIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "convert": Tensor.double,
    "create": lambda x: torch.zeros(3, dtype=torch.float64, device=x.device),
    "send": lambda x: torch.ones(3, dtype=torch.float64).to(x.device),
    "like": lambda x: torch.empty_like(x, dtype=torch.float64),
    "sum": lambda x: x.sum(dtype=torch.float64),
    "draw": lambda x: torch.randn(3, dtype=torch.float64, device=x.device),
    "complex": lambda x: x.to(torch.complex128),
    "from integers": lambda x: x.long().double(),
}


@pytest.mark.parametrize("name", WIDE)
def test_float64_is_refused_where_a_test_asks(name: str, no_float64: torch.device) -> None:
    with pytest.raises(TypeError, match="doesn't support float64"):
        WIDE[name](torch.ones(3, device=no_float64))


@pytest.mark.parametrize("name", WIDE)
def test_float64_is_there_where_none_asks(name: str, second: torch.device) -> None:
    assert WIDE[name](torch.ones(3, device=second)).dtype in {torch.float64, torch.complex128}


@pytest.mark.parametrize("name", FORWARD)
def test_operators_on_float32_need_no_float64(name: str, no_float64: torch.device) -> None:
    function, inputs = FORWARD[name]
    made = [x for x in tree_leaves(function(*(x.to(no_float64) for x in inputs))) if isinstance(x, Tensor)]
    assert made
    assert not {tensor.dtype for tensor in made} & {torch.float64, torch.complex128}


def test_a_module_in_float64_is_refused(no_float64: torch.device) -> None:
    with pytest.raises(TypeError, match="doesn't support float64"):
        nn.Linear(2, 2, dtype=torch.float64).to(no_float64)


def test_what_is_known_of_float64_follows_the_mode(second: torch.device, request: pytest.FixtureRequest) -> None:
    assert has_float64(second)
    assert statistics_device(second) == second
    request.getfixturevalue("no_float64")
    assert not has_float64(second)
    assert statistics_device(second).type == "cpu"
