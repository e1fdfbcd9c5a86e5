"""Devices: which of them torch has here, where to compute by default, and which one can bear float64."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from dragon_rewards.errors import DeviceError

ACCELERATORS = ("cuda", "mps", "xpu")  # chosen without being named, in this order
CPU = torch.device("cpu")


def default_device() -> torch.device:
    """The accelerator that torch has here (cuda, mps or xpu), else the CPU."""
    return next((torch.device(kind, 0) for kind in ACCELERATORS if device_count(kind)), CPU)


def available_devices() -> list[torch.device]:
    """The CPU and every device of each accelerator that torch has here."""
    kinds = dict.fromkeys([*ACCELERATORS, torch._C._get_privateuse1_backend_name()])  # noqa: SLF001  no public name
    return [CPU, *(torch.device(kind, index) for kind in kinds for index in range(device_count(kind)))]


def find_device(name: str | None) -> torch.device:
    """The device of this name, as in "cuda:1"; without a number, the first of its kind; without a name, the default.

    Raises:
        DeviceError: torch has no such device here; names those it has.
    """
    if name is None:
        return default_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"'{name}' is no device; {_choices()}") from None
    if (device.index or 0) >= device_count(device.type):
        raise DeviceError(f"device '{name}' is not on this machine; {_choices()}")
    return CPU if device.type == "cpu" else torch.device(device.type, device.index or 0)


def device_count(kind: str) -> int:
    """How many devices of a kind, such as "cuda", torch can compute on here."""
    if kind == "cpu":
        return 1
    module: Any = getattr(torch, kind, None)
    return int(module.device_count()) if hasattr(module, "is_available") and module.is_available() else 0


def statistics_device(device: torch.device) -> torch.device:
    """Where statistics of embeddings on `device` are computed, in float64: there, or on the CPU if it has none."""
    return device if has_float64(device) else CPU


def has_float64(device: torch.device) -> bool:
    """Whether a device can compute in float64; Apple's GPUs cannot."""
    return device.type == "cpu" or _bears(str(device))


@cache
def _bears(name: str) -> bool:
    try:
        torch.ones(1, dtype=torch.float64, device=name)
    except (TypeError, RuntimeError):  # torch raises the former for mps
        return False
    return True


def _choices() -> str:
    return "choose one of " + ", ".join(map(str, available_devices()))
