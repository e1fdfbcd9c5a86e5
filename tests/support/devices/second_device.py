"""A second device on any machine: memory and arithmetic of the CPU, kept apart from it as a GPU's are.

`install()` gives torch two devices, "second:0" and "second:1". A test asks for the fixture `second`.
"""

from __future__ import annotations

import atexit
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

import torch
import torchgen  # type: ignore[import-untyped]
from torch.utils.backend_registration import generate_methods_for_privateuse1_backend, rename_privateuse1_backend

from dragon_rewards.compute import devices as project
from support.devices import second_module
from support.devices.build import library

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def install() -> torch.device:
    """Registers the devices with torch, once in a process; returns the first one."""
    torch.ops.load_library(str(library()))
    torch.ops.second.start(*_table())
    rename_privateuse1_backend("second")
    torch._register_device_module("second", second_module)
    generate_methods_for_privateuse1_backend(for_storage=True)
    atexit.register(sleep, 0.1)  # a thread that has gone backward lets go of Python's objects before Python ends
    return torch.device("second", 0)


def _table() -> tuple[list[str], list[str]]:
    """Of torch's own table, the operators whose kernels check devices themselves, and those CUDA has kernels of."""
    text = (Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml").read_text()
    entries = {entry.split("(", 1)[0]: entry for entry in text.split("\n- func: ")[1:]}
    unchecked = [name for name, entry in entries.items() if "device_check: NoCheck" in entry]
    return unchecked, [name for name, entry in entries.items() if _has_kernels(name, entry, entries)]


def _has_kernels(name: str, entry: str, entries: dict[str, str]) -> bool:
    """Whether both CUDA and the CPU have a kernel, where others compute it from plainer operators."""
    if delegate := re.search(r"^  structured_delegate: (\S+)", entry, re.MULTILINE):
        entry = entries[delegate[1]]
    elif "Composite" not in entry:
        return False  # they reach the fallback
    kernels = [re.search(rf"^    ([\w, ]+, )?{key}(, [\w, ]+)?:", entry, re.MULTILINE) for key in ("CPU", "CUDA")]
    return all(kernels) or name.startswith("_foreach_")


@dataclass
class Counts:
    """What a block of a test asked of the device, in all and by operator."""

    by_name: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def launches(self) -> int:
        """Operators that the device computed."""
        return self._all("launch")

    @property
    def synchronisations(self) -> int:
        """Reads by the host, for which it waited for the device."""
        return self._all("synchronisation")

    @property
    def uploads(self) -> int:
        """Copies from the CPU's memory."""
        return self._all("upload")

    def _all(self, kind: str) -> int:
        return self.by_name.get(kind, Counter()).total()

    def __str__(self) -> str:
        return "; ".join(f"{kind}: {dict(counter.most_common())}" for kind, counter in self.by_name.items())


@contextmanager
def counted() -> Iterator[Counts]:
    """Counts what the block asks of the devices, in all threads; the figures are there once it has ended."""
    counts, before = Counts(), _read()
    yield counts
    for key, times in (_read() - before).items():
        kind, name = key.split(" ", 1)
        counts.by_name.setdefault(kind, Counter())[name] = times


def _read() -> Counter[str]:
    return Counter(torch.ops.second.counts())


@contextmanager
def without_float64() -> Iterator[None]:
    """In the block the devices refuse float64, as Apple's do."""
    _set_float64(wanted=False)
    try:
        yield
    finally:
        _set_float64(wanted=True)


def _set_float64(*, wanted: bool) -> None:
    torch.ops.second.set_float64(wanted)
    project._bears.cache_clear()  # it remembers what a device could do


@contextmanager
def limited_memory(free: int, device: int = 0) -> Iterator[None]:
    """In the block a device has so many bytes more than it holds now; torch.OutOfMemoryError is raised beyond them."""
    torch.ops.second.set_limit(device, second_module.memory_allocated(device) + free)
    try:
        yield
    finally:
        torch.ops.second.set_limit(device, None)


def show(*, wanted: bool) -> None:
    """Whether torch finds the devices from now on, if they were installed; else it has none to choose."""
    if hasattr(torch, "second"):
        torch.ops.second.set_available(wanted)
