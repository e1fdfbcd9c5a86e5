"""Devices: which of them torch has here, which one is the default, and which of them can compute in which precision."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from dragon_rewards.errors import DeviceError

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precisions of a run, beside "no", which is float32
ACCELERATORS = ("cuda", "mps", "xpu")  # accelerators that may be the default device, in this order
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Memory:
    """The memory of a device, in bytes; memory that torch holds in reserve counts as free."""

    free: int
    total: int


def default_device() -> torch.device:
    """Return the first accelerator that torch has here (cuda, mps or xpu), or the CPU if there is none."""
    return next((torch.device(kind, 0) for kind in ACCELERATORS if device_count(kind)), CPU)


def available_devices() -> list[torch.device]:
    """Return the CPU and every device of each accelerator that torch has here."""
    kinds = dict.fromkeys([*ACCELERATORS, torch._C._get_privateuse1_backend_name()])  # noqa: SLF001  no public name
    return [CPU, *(torch.device(kind, index) for kind in kinds for index in range(device_count(kind)))]


def find_device(name: str | None) -> torch.device:
    """Return the device of a name such as "cuda:1"; without a number it is the first of its kind.

    Args:
        name: the name; None for the default device.

    Raises:
        DeviceError: torch has no such device here; the message lists the devices that it has.
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


def spread(name: str | None) -> list[torch.device]:
    """Return the devices to spread work over: the named one alone, or every accelerator of the default device's kind.

    Args:
        name: the name of a device; None for all accelerators of the default kind, or the CPU if there is no
            accelerator.

    Raises:
        DeviceError: torch has no such device here.
    """
    chosen = find_device(name)
    alone = name is not None or chosen == CPU
    return [chosen] if alone else [torch.device(chosen.type, index) for index in range(device_count(chosen.type))]


def device_count(kind: str) -> int:
    """Return how many devices of a kind, such as "cuda", torch can compute on here."""
    if kind == "cpu":
        return 1
    module: Any = getattr(torch, kind, None)
    return int(module.device_count()) if hasattr(module, "is_available") and module.is_available() else 0


def device_name(device: torch.device) -> str:
    """Return the maker's name of a device, such as "NVIDIA H100 80GB HBM3", or its kind where torch knows no name."""
    module: Any = torch.get_device_module(device.type)
    return str(module.get_device_name(device)) if hasattr(module, "get_device_name") else device.type


def device_memory(device: torch.device) -> Memory | None:
    """Return the memory of an accelerator; None where torch cannot tell, as for the CPU."""
    module: Any = torch.get_device_module(device.type)
    if not hasattr(module, "mem_get_info"):
        return None
    free, total = module.mem_get_info(device)
    held = module.memory_reserved(device) - module.memory_allocated(device) if hasattr(module, "memory_reserved") else 0
    return Memory(int(free + held), int(total))


def host_memory() -> tuple[int | None, int | None]:
    """Return the free and the total memory of this machine in bytes; both None where the system does not tell."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None, None


def wait_for(device: torch.device) -> None:
    """Wait until a device has finished all work that it was given."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type != "cpu":
        torch.get_device_module(device.type).synchronize(device)


def statistics_device(device: torch.device) -> torch.device:
    """Return where float64 statistics of embeddings on `device` are computed: there, or on the CPU if need be.

    The CPU is needed if `device` cannot compute in float64.
    """
    return device if has_float64(device) else CPU


def trains_in(precision: str, device: torch.device) -> bool:
    """Return whether a run on a device can have a precision: "no", "bf16" or "fp16".

    The CPU does not train in fp16, because accelerate scales gradients on accelerators only.
    """
    if precision not in PRECISIONS:
        return True
    return not (precision == "fp16" and device == CPU) and _multiplies(str(device), PRECISIONS[precision])


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, which Apple's GPUs report as a plain RuntimeError."""
    plain = isinstance(error, RuntimeError) and "out of memory" in str(error)
    return plain or isinstance(error, (torch.OutOfMemoryError, MemoryError))


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a run on a device cannot have.

    Raises:
        DeviceError: the device cannot train in it; the message lists the precisions that it can train in.
    """
    if not trains_in(precision, device):
        choices = " or ".join(f'precision = "{other}"' for other in (*PRECISIONS, "no") if trains_in(other, device))
        said = f'precision = "{precision}": {device} cannot train in it'
        raise DeviceError(f"{said}; choose {choices}, or another --device")


def has_float64(device: torch.device) -> bool:
    """Return whether a device can compute in float64, which Apple's GPUs cannot."""
    return device.type == "cpu" or _bears(str(device))


@cache
def _bears(name: str) -> bool:
    try:
        torch.ones(1, dtype=torch.float64, device=name)
    except torch.OutOfMemoryError:  # says nothing about the device, so it must not be cached
        raise
    except (TypeError, RuntimeError):  # torch raises TypeError for mps
        return False
    return True


@cache
def _multiplies(name: str, dtype: torch.dtype) -> bool:
    ones = torch.ones(2, 2, device=name)
    try:
        _ = ones.to(dtype) @ ones.to(dtype)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, RuntimeError):
        return False
    return True


def _choices() -> str:
    return "choose one of " + ", ".join(map(str, available_devices()))
