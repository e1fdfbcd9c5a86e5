"""`torch.second`: what torch and the libraries over it ask of the module of an accelerator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Event, Stream  # noqa: F401  as in torch.cuda

Index = torch.device | str | int | None
DEVICES = 2
_initialized = True  # checkpointing keeps the random numbers of such devices only


def is_available() -> bool:
    return bool(torch.ops.second.is_available())


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return DEVICES if is_available() else 0


def current_device() -> int:
    return torch._C._accelerator_getDeviceIndex()


def set_device(device: Index) -> None:
    torch._C._accelerator_setDeviceIndex(_index(device))


def synchronize(device: Index = None) -> None:
    torch._C._accelerator_synchronizeDevice(_index(device))


class device:  # noqa: N801  as in torch.cuda
    """Makes a device the current one in a block."""

    def __init__(self, device: Index) -> None:
        self.index = _index(device)

    def __enter__(self) -> None:
        self.before = torch._C._accelerator_exchangeDevice(self.index)

    def __exit__(self, *_: object) -> None:
        torch._C._accelerator_setDeviceIndex(self.before)


def _index(device: Index) -> int:
    if device is None:
        return current_device()
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return current_device() if index is None else index


def current_stream(device: Index = None) -> torch.Stream:
    return torch._C._accelerator_getStream(_index(device))


def set_stream(stream: torch.Stream) -> None:
    torch._C._accelerator_setStream(stream)


def stream(stream: torch.Stream) -> torch.Stream:
    return stream  # which makes itself the current one in a block


def manual_seed(seed: int) -> None:
    torch.ops.second.seed(current_device(), seed)


def manual_seed_all(seed: int) -> None:
    for index in range(DEVICES):
        torch.ops.second.seed(index, seed)


def get_rng_state(device: Index = None) -> torch.Tensor:
    state: torch.Tensor = torch.ops.second.random_state(_index(device))
    return state


def set_rng_state(new_state: torch.Tensor, device: Index = None) -> None:
    torch.ops.second.set_random_state(_index(device), new_state)


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16]


def is_bf16_supported() -> bool:
    return True


def get_device_name(device: Index = None) -> str:
    return f"second device of tests, no. {_index(device)}"


def get_device_properties(device: Index = None) -> SimpleNamespace:
    return SimpleNamespace(name=get_device_name(device), total_memory=mem_get_info(device)[1])


def memory_allocated(device: Index = None) -> int:
    return int(memory_stats(device)["allocated_bytes"]["all"]["current"])


def max_memory_allocated(device: Index = None) -> int:
    return int(memory_stats(device)["allocated_bytes"]["all"]["peak"])


def memory_reserved(device: Index = None) -> int:
    return memory_allocated(device)


def max_memory_reserved(device: Index = None) -> int:
    return max_memory_allocated(device)


def memory_stats(device: Index = None) -> dict[str, Any]:
    return torch._C._accelerator_getDeviceStats(_index(device))


def reset_peak_memory_stats(device: Index = None) -> None:
    torch._C._accelerator_resetPeakStats(_index(device))


def mem_get_info(device: Index = None) -> tuple[int, int]:
    """Bytes that are free, and all of them."""
    return torch._C._accelerator_getMemoryInfo(_index(device))


def empty_cache() -> None:
    """Nothing is kept back."""


def _is_in_bad_fork() -> bool:
    return False


def _lazy_init() -> None:
    """It is ready."""
