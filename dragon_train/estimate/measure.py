"""Measure one step of a run: its seconds and the most memory in use, phase by phase.

As a program, it measures the order that it reads from stdin, in a process of its own.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping  # noqa: TC003  a field's type
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import torch
from msgspec import Meta

from dragon_rewards.errors import DragonError
from dragon_rewards.storage.decoding import decode_json
from dragon_train.assembly import assemble
from dragon_train.config import TrainConfig, train_config
from dragon_train.estimate.machine import now
from dragon_train.loop.lifeline import end_with_parent
from dragon_train.loop.loop import Training, resolved
from dragon_train.loop.processes import Processes
from dragon_train.loop.rollout import Clock, Context
from dragon_train.loop.run import Run
from dragon_train.loop.run_folder import Claim
from dragon_train.objectives.configured import completed
from dragon_train.pipelines.lengths import set_length
from dragon_train.pipelines.loading import HOLLOW, check_checkpointing, loading_of
from dragon_train.prompt_table import Entry, as_entry, as_prompt
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STATUS = Path("/proc/self/status")
# glibc keeps what is freed, up to some hundreds of MB, unless each block above a few pages is mapped by itself.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "16384"}
Bytes = Annotated[int, Meta(ge=0, le=2**60)]
FORGET_PEAK = "5"  # what Linux takes to start the count of `VmHWM` afresh (man 5 proc)


@dataclass(frozen=True)
class Order:
    """An order to the process that measures.

    Attributes:
        config: the settings of the run.
        prompts: the prompts that it is tuned on.
        device: the name of the device.
    """

    config: dict[str, Any]
    prompts: list[Entry]
    device: str


@dataclass(frozen=True)
class Measured:
    """The memory and the time that a step took.

    Attributes:
        base: the bytes in use before anything was loaded; on a CPU they are Python's and its libraries', all imported.
        loaded: the bytes in use with the networks loaded.
        peaks: the most bytes in use in each phase, with all that was in use before it.
        seconds: the seconds of each phase.
        resident: the most bytes of a CPU's process that keeps for itself what it freed, as any does by default.
    """

    base: Bytes
    loaded: Bytes
    peaks: Annotated[Mapping[str, Bytes], Meta(min_length=1)]
    seconds: Mapping[str, Annotated[float, Meta(ge=0, le=1e9)]]
    resident: Bytes = 0

    @property
    def peak(self) -> int:
        """The most bytes in use at once, over all phases."""
        return max(self.peaks.values())

    def to_json(self) -> dict[str, Any]:
        """Return all figures as a dictionary, in bytes and seconds."""
        return asdict(self)


class Memory:
    """The bytes in use on a device: by torch's allocator on an accelerator, by this process on the CPU.

    Raises:
        DragonError: torch does not tell the peak of the device's memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.module: Any = None if device.type == "cpu" else torch.get_device_module(device.type)
        if self.module and not hasattr(self.module, "reset_peak_memory_stats"):
            raise DragonError(f"torch does not tell the peak of {device}'s memory; measure on CUDA, XPU or Linux's CPU")

    def now(self) -> int:
        """Return the number of bytes that are in use now."""
        return int(self.module.memory_allocated(self.device)) if self.module else of_process("VmRSS")

    def forget(self) -> None:
        """Start the count of the most bytes in use afresh."""
        if self.module:
            self.module.reset_peak_memory_stats(self.device)
        else:
            Path("/proc/self/clear_refs").write_text(FORGET_PEAK, encoding="ascii")

    def most(self) -> int:
        """Return the most bytes that were in use at once since `forget`."""
        return int(self.module.max_memory_allocated(self.device)) if self.module else of_process("VmHWM")


def of_process(key: str) -> int:
    """Return a size in this process's status, in bytes.

    Raises:
        DragonError: the system has no /proc, as only Linux has.
    """
    if not STATUS.exists():
        raise DragonError("memory of a process is measured on Linux only; measure on an accelerator, or there")
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


class MeasuringClock(Clock):
    """A clock that also keeps the most memory in use in each phase.

    Attributes:
        memory: counts the bytes in use.
        peaks: the most bytes in use in each phase.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory.device)
        self.memory, self.peaks = memory, defaultdict[str, int](int)

    def now(self) -> float:
        """Return the time in seconds, as the benchmark counts it."""
        return now(self.device)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time and the most memory in use inside the block as this phase."""
        self.memory.forget()
        with super().phase(name):
            yield
        self.peaks[name] = max(self.peaks[name], self.memory.most())


def measure(config: TrainConfig, prompts: Sequence[str], device: torch.device) -> Measured:
    """Load a run, and take two steps in a folder that is thrown away; the second is measured, when all is warm."""
    config, loading = completed(replace(config, steps=2, trackers=())), loading_of(config, device)
    memory, info = Memory(device), load_train_registry().pipeline(config.pipeline)
    info.factory(replace(loading, device=HOLLOW))  # imports what it needs
    gc.collect()
    base = memory.now()
    parts = assemble(config, device)
    policy = parts.policy
    set_length(policy, prompts)
    config = resolved(config, policy)
    check_checkpointing(policy, config)
    with TemporaryDirectory() as folder:
        claim, processes = (
            Claim(config, prompts, ()),
            Processes(config.precision, device=device, recomputes=config.gradient_checkpointing),
        )
        run = Run(claim, Path(folder), device)
        context = Context(config, policy, prompts, processes, Clock(device))
        training = Training(context, parts.reward, parts.objective, run)
        training.step(0)
        gc.collect()
        context.clock = clock = MeasuringClock(memory)
        loaded = memory.now()
        row = training.step(1)
        processes.close()
    seconds = {phase: row[f"{phase}_s"] for phase in clock.peaks}
    return Measured(base, loaded, dict(clock.peaks), seconds)


def measured_apart(config: TrainConfig, prompts: Sequence[str], device: torch.device) -> Measured:
    """Measure a step in a process of its own, which has nothing else in memory.

    On a CPU it takes two, one after the other: one that gives memory back as soon as it is free, so that it has what is
    in use, and is slow by that; and one for the seconds.

    Raises:
        DragonError: it failed; the message is what it said last.
    """
    found = run_apart(config, prompts, device, {})
    if device.type != "cpu":
        return found
    return replace(run_apart(config, prompts, device, GIVE_BACK), seconds=found.seconds, resident=found.peak)


def run_apart(
    config: TrainConfig, prompts: Sequence[str], device: torch.device, environment: Mapping[str, str]
) -> Measured:
    """Run `measure` in a process with these environment variables.

    Raises:
        DragonError: it failed; the message is what it said last.
    """
    given = json.dumps({"config": asdict(config), "prompts": list(map(as_entry, prompts)), "device": str(device)})
    command = [sys.executable, "-m", "dragon_train.estimate.measure"]
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | environment, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DragonError(f"the step that was to be measured failed: {last[0]}")
    printed = (done.stdout.splitlines() or [""])[-1]
    return decode_json(printed, Measured, "what the measured step printed", "measure again")


if __name__ == "__main__":
    end_with_parent()
    received = decode_json(sys.stdin.read(), Order, "the order to measure", "send what `run_apart` sends")
    chosen = train_config(received.config, "the configuration")
    found = measure(chosen, list(map(as_prompt, received.prompts)), torch.device(received.device))
    print(json.dumps(asdict(found)))  # noqa: T201
