"""The second device computes what the CPU computes, refuses what a GPU refuses and counts what it is asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from devices.second_device import counted
from dragon_rewards.devices import available_devices, default_device, find_device, statistics_device


def test_devices_are_listed_and_found_but_not_chosen(second: torch.device) -> None:
    assert find_device("second:1") == torch.device("second", 1)
    assert {second, torch.device("second", 1)} < set(available_devices())
    assert default_device().type != "second"


def test_mixing_devices_is_refused(second: torch.device) -> None:
    there, here = torch.randn(4, 4, device=second), torch.randn(4, 4)
    with pytest.raises(RuntimeError, match=r"on the same device, but found at least two devices, second:0 and cpu!"):
        there + here
    with pytest.raises(RuntimeError, match=r"on the same device, but got mat2 is on cpu, different .* on second:0"):
        there @ here
    with pytest.raises(RuntimeError, match=r"found at least two devices, second:0 and second:1"):
        there + here.to("second:1")


def test_a_convolution_learns_as_on_the_cpu(second: torch.device) -> None:
    torch.manual_seed(0)
    convolution, clips = torch.nn.Conv1d(3, 4, 5), torch.randn(2, 3, 20, requires_grad=True)
    expected = torch.autograd.grad(convolution(clips).square().sum(), [clips, *convolution.parameters()])
    there = clips.detach().to(second).requires_grad_()
    convolution.to(second)
    found = torch.autograd.grad(convolution(there).square().sum(), [there, *convolution.parameters()])
    for gradient, reference in zip(found, expected, strict=True):
        assert torch.equal(gradient.cpu(), reference)


def test_reads_are_counted(second: torch.device) -> None:
    values = torch.randn(10).to(second)
    with counted() as counts:
        values.sum().item()
        assert len(values[values > 0]) <= len(values)
        functional.softplus(values).tolist()
    assert counts.synchronisations == 3, counts
    assert counts.launches == 5, counts
    assert counts.uploads == 0, counts


def test_float64_is_refused_where_a_test_asks(no_float64: torch.device) -> None:
    values: Tensor = torch.ones(3, device=no_float64)
    with pytest.raises(TypeError, match=r"doesn't support float64"):
        values.double()
    assert statistics_device(no_float64).type == "cpu"
