"""Which device is found by a name, and what is said where there is none."""

import pytest
import torch

from dragon_rewards.compute.devices import (
    available_devices,
    default_device,
    find_device,
    has_float64,
    statistics_device,
)
from dragon_rewards.errors import DeviceError


def test_the_default_is_an_accelerator_where_there_is_one() -> None:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    assert default_device().type == (accelerator or torch.device("cpu")).type
    assert find_device(None) == default_device()


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_a_device_is_found_by_name(name: str) -> None:
    assert find_device(name) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta", "cpu:1", "", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(DeviceError, match=f"'{name}' is .*; choose one of cpu"):
        find_device(name)


def test_the_cpu_is_available_and_has_float64() -> None:
    assert torch.device("cpu") in available_devices()
    assert has_float64(torch.device("cpu"))
    assert statistics_device(torch.device("cpu")) == torch.device("cpu")
