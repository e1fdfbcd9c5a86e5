"""The device's module as torch and other libraries use it, its memory, and a process that does not ask for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import torch
from support.devices import build
from support.devices.operators import normal
from support.devices.second_device import limited_memory, show
from torch.utils.data import DataLoader, TensorDataset

from dragon_rewards.compute.devices import available_devices, device_memory, device_name, find_device
from dragon_rewards.errors import DeviceError

GIB = 2**30


def test_memory_is_counted_for_each_device(second: torch.device, other: torch.device) -> None:
    module = torch.get_device_module("second")
    module.reset_peak_memory_stats(second)
    before, elsewhere = module.memory_allocated(second), module.memory_allocated(other)
    held = [torch.empty(250, device=second) for _ in range(3)]
    assert module.memory_allocated(second) - before == 3000
    assert torch.accelerator.memory_allocated(0) == module.memory_allocated(0)
    view = held[0][::2]
    del held
    assert module.memory_allocated(second) - before == 1000
    del view
    made = torch.ones(250, device=second).nonzero()  # memory that the CPU's kernel took
    assert module.memory_allocated(second) - before == made.numel() * 8
    assert module.max_memory_allocated(second) - before == 3000
    assert module.memory_allocated(other) == elsewhere
    module.reset_peak_memory_stats(second)
    assert torch.accelerator.max_memory_allocated(0) == module.memory_allocated(second)


def test_memory_of_a_storage_is_taken_and_given_back(other: torch.device) -> None:
    module, values = torch.get_device_module("second"), torch.ones(100, device=other)
    before = module.memory_allocated(other)
    values.untyped_storage().resize_(0)
    assert module.memory_allocated(other) == before - 400
    values.untyped_storage().resize_(800)
    assert module.memory_allocated(other) == before + 400
    assert values.untyped_storage().device == other


def test_memory_runs_out_where_a_test_limits_it(second: torch.device, other: torch.device) -> None:
    free, total = torch.get_device_module("second").mem_get_info(second)
    assert total == 16 * GIB >= free
    with limited_memory(4000):
        kept = torch.ones(900, device=second)
        with pytest.raises(torch.OutOfMemoryError, match=r"second:0 out of memory\. Tried to allocate 4000 bytes\."):
            torch.empty(1000, device=second)
        with pytest.raises(torch.OutOfMemoryError):
            kept + kept
        with pytest.raises(torch.OutOfMemoryError):
            kept.nonzero()
        torch.empty(1000, device=other)
        memory = device_memory(second)
        assert memory is not None
        assert memory.free == 400
    torch.empty(1000, device=second)
    with limited_memory(0, device=1), pytest.raises(torch.OutOfMemoryError, match="second:1 out of memory"):
        torch.empty(1, device=other)


def test_the_module_answers_what_libraries_ask(second: torch.device, other: torch.device) -> None:
    module = torch.get_device_module(second)
    assert module.is_available()
    assert module.device_count() == torch.accelerator.device_count() == 2
    assert torch.accelerator.current_accelerator(check_available=True) == torch.device("second")
    with module.device(other):
        assert module.current_device() == torch.accelerator.current_device_index() == 1
        assert torch.ones(1, device="second").device == other
    assert torch.ones(1, device="second").device == second
    assert device_name(other) == "second device of tests, no. 1"
    assert module.get_device_properties(second).total_memory == 16 * GIB
    module.synchronize()
    torch.accelerator.synchronize(other)
    assert module.is_bf16_supported()


def test_streams_and_events_are_there(second: torch.device) -> None:
    module = torch.get_device_module(second)
    stream, default = torch.Stream(second), module.current_stream()
    with stream:
        assert module.current_stream() == stream != default
        torch.ones(3, device=second)
    assert module.current_stream() == default
    stream.synchronize()
    start, end = torch.Event("second", enable_timing=True), torch.Event("second", enable_timing=True)
    start.record()
    end.record(stream)
    stream.wait_event(start)
    end.synchronize()
    assert end.query()
    assert 0 <= start.elapsed_time(end) < 60_000


def test_each_thread_has_a_current_device(other: torch.device) -> None:
    found = []
    with torch.get_device_module("second").device(other):
        thread = Thread(target=lambda: found.append(torch.ones(1, device="second").device.index))
        thread.start()
        thread.join()
    assert found == [0]


@pytest.mark.usefixtures("second")
def test_a_test_that_does_not_ask_finds_none() -> None:
    show(wanted=False)
    assert not torch.accelerator.is_available()
    assert torch.accelerator.current_accelerator(check_available=True) is None
    assert torch.accelerator.device_count() == 0
    assert [device.type for device in available_devices()] == ["cpu"]
    with pytest.raises(DeviceError, match="'second' is not on this machine; choose one of cpu"):
        find_device("second")
    with pytest.warns(UserWarning, match="no accelerator is found"):
        [(batch,)] = DataLoader(TensorDataset(normal(2, 3)), 2, pin_memory=True)
    assert not batch.is_pinned()


ALONE = """
import torch

start = torch.ones(3, requires_grad=True)
start.sum().backward()  # torch starts its threads before there is a device

from support.devices.second_device import install

for device in (install(), torch.device("second", 1)):
    there = torch.ones(3, device=device, requires_grad=True)
    there.square().sum().backward()
    assert there.grad.tolist() == [2, 2, 2]
torch.manual_seed(0)
drawn = torch.randn(3)
torch.manual_seed(0)
torch.randn(3, device="second")
assert torch.equal(torch.randn(3), drawn)
assert install() == torch.device("second", 0)
"""


def test_it_is_installed_in_a_process_that_has_learnt_before() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"compiled with g\+\+, which is not here: install it"):
        build.library()


def test_a_failed_build_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "broken.cpp"
    source.write_text("int broken(")
    monkeypatch.setattr(build, "SOURCE", source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"was not compiled:\n.*broken\.cpp[^$]*error: "):
        build.library()
    assert not list(tmp_path.glob("**/*.so"))


def test_it_is_built_once(second: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(build, "_compile", fail)
    assert build.library().stat().st_size
    assert second.type == "second"
