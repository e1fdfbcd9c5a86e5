"""The second device computes what the CPU computes, forward and backward, by every operator that the project calls."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from support.devices.operators import FORWARD, normal
from support.devices.second_device import counted
from torch import Tensor, nn

from dragon_rewards.compute.devices import available_devices, default_device, find_device


def as_list(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


@pytest.mark.parametrize("name", FORWARD)
def test_values_are_the_cpu_s(name: str, second: torch.device) -> None:
    function, inputs = FORWARD[name]
    expected = as_list(function(*inputs))
    for found, reference in zip(as_list(function(*(x.to(second) for x in inputs))), expected, strict=True):
        assert found.device == second
        torch.testing.assert_close(found.cpu(), reference, rtol=1e-5, atol=1e-5)


class Embedded(nn.Module):
    """The kinds of layers that encoders and denoisers are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 8, 5, stride=2, bias=False))
        self.lstm = nn.LSTM(8, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.norms = nn.Sequential(nn.GroupNorm(2, 8), nn.BatchNorm1d(8), nn.SiLU())
        self.last = nn.ConvTranspose1d(8, 3, 5, stride=2, groups=1)

    def forward(self, clips: Tensor) -> Tensor:
        hidden = self.first(clips).mT
        hidden = self.attention(self.lstm(hidden)[0]).mT
        found: Tensor = self.last(self.norms(hidden)) * torch.pow(clips.std(), 0.5)
        return found


@pytest.mark.parametrize("bound", ["clips learn", "clips are given"])
def test_gradients_are_the_cpu_s(bound: str, second: torch.device) -> None:
    torch.manual_seed(0)
    here, clips = Embedded(), normal(2, 3, 25)
    there = copy.deepcopy(here).to(second)
    gradients = []
    for module, device in ((here, "cpu"), (there, second)):
        given = clips.clone().to(device).detach().requires_grad_(bound == "clips learn")
        module(given).square().mean().backward()
        learnt = [*module.parameters(), *([given] if given.requires_grad else [])]
        gradients.append([parameter.grad for parameter in learnt])
    for found, reference in zip(gradients[1], gradients[0], strict=True):
        assert found is not None
        assert found.device == second
        torch.testing.assert_close(found.cpu(), reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.Conv1d, nn.ConvTranspose1d])
def test_a_convolution_learns_as_on_the_cpu(
    kind: type[nn.Conv1d], bias: bool, groups: int, second: torch.device
) -> None:
    here, clips = kind(4, 6, 3, groups=groups, bias=bias), normal(2, 4, 12)
    there = copy.deepcopy(here).to(second)
    here(clips).square().sum().backward()
    there(clips.to(second)).square().sum().backward()
    for found, reference in zip(there.parameters(), here.parameters(), strict=True):
        assert found.grad is not None
        torch.testing.assert_close(found.grad.cpu(), reference.grad)


def test_both_devices_go_backward(second: torch.device, other: torch.device) -> None:
    start = torch.ones(3, device=second, requires_grad=True)
    (start.square().to(other) * 3).sum().backward()
    assert start.grad is not None
    assert start.grad.device == second
    assert start.grad.tolist() == [6, 6, 6]


def test_devices_are_listed_and_found_but_not_chosen(second: torch.device, other: torch.device) -> None:
    assert find_device("second") == second
    assert find_device("second:1") == other == torch.device("second", 1)
    assert {second, other} < set(available_devices())
    assert default_device().type != "second"


def test_results_of_any_shape_are_written_where_they_are_asked_for(second: torch.device) -> None:
    values, made = normal(3, 4).to(second), torch.empty(0, device=second)
    assert torch.add(values, 1, out=made) is made
    assert torch.equal(made.cpu(), values.cpu() + 1)
    whole = made.view(-1)
    made.mul_(2)
    assert torch.equal(whole.cpu(), 2 * (values.cpu() + 1).flatten())
    assert made.resize_(5, 4).shape == (5, 4)
    assert torch.equal(made[:3].cpu(), 2 * (values.cpu() + 1))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own use of it
def test_second_and_forward_derivatives_are_there(second: torch.device) -> None:
    hessian = torch.func.hessian(lambda x: (x**3).sum())(torch.ones(2, device=second))
    assert hessian.tolist() == [[6, 0], [0, 6]]


def test_only_dense_tensors_are_there(second: torch.device) -> None:
    with pytest.raises(RuntimeError, match="dense tensors only"):
        torch.eye(2, device=second).to_sparse()


def test_one_operator_is_one_launch(second: torch.device) -> None:
    values, module = normal(3, 4).to(second), nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GELU()).to(second)
    with counted() as counts:
        module(values).view(12)[::2].transpose(0, 0)
    assert counts.launches == 3, counts
    assert counts.synchronisations == counts.uploads == 0, counts
