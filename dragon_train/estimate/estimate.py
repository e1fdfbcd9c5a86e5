"""Estimate a run from the counts of one step: memory by phase, and the seconds of a step.

`estimate` is the entry; `estimate.phases` counts the step on a pipeline without values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.compute.devices import device_memory, host_memory
from dragon_rewards.errors import DragonError
from dragon_train.estimate.hollow import quiet
from dragon_train.estimate.learning import PROMPT
from dragon_train.estimate.phases import count_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from dragon_train.config import TrainConfig
    from dragon_train.descriptors import PipelineInfo
    from dragon_train.estimate.machine import Machine
    from dragon_train.estimate.phases import StepCount

GRADIENTS = "gradients"


class EstimateError(DragonError):
    """The code of a pipeline cannot be run on tensors without values."""


@dataclass(frozen=True)
class Estimate:
    """The memory and the time that a run takes.

    Attributes:
        held: the bytes of what stays in memory, by name: each network, what learns, its gradients and its optimiser's
            moments.
        memory: the most bytes at once in each phase, with all that stays.
        seconds: the seconds of each phase of a step, where a machine was named.
        basis: where the speeds are from.
        uncounted: what could not be counted, and why.
        batch: the number of clips sampled or decoded at once.
    """

    held: Mapping[str, int]
    memory: Mapping[str, int]
    seconds: Mapping[str, float]
    basis: str
    uncounted: Mapping[str, str]
    batch: int

    @property
    def peak(self) -> int:
        """The most bytes in use at once, over all phases."""
        return max(self.memory.values())

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each phase, with its memory in GB and its seconds."""
        return [
            {"phase": phase, "memory_gb": size / 1e9, "seconds": self.seconds.get(phase)}
            for phase, size in self.memory.items()
        ]


def estimate(
    info: PipelineInfo, config: TrainConfig, machine: Machine | None, *, cuda: bool, prompt: str = PROMPT
) -> Estimate:
    """Estimate a run by counting one step of it.

    Args:
        info: the pipeline; its settings are read, and no weights.
        config: the run, with the defaults of its objective's options.
        machine: the device whose time is estimated; None for memory alone.
        cuda: whether it runs on a CUDA device, whose autocast keeps other operations in float32.
        prompt: a prompt of the run; its columns say how long clips are.

    Raises:
        DragonError: the pipeline's settings cannot be read.
        EstimateError: its code asks tensors for their values.
    """
    try:
        with quiet():
            step = count_step(info, config, cuda=cuda, prompt=prompt)
    except DragonError:
        raise
    except Exception as error:  # a pipeline's own code, on tensors without values
        first = next(iter(str(error).splitlines()), "")
        raise EstimateError(
            f"pipeline '{info.name}' cannot be counted without its weights ({type(error).__name__}: {first}); take one "
            "step of dragon train instead"
        ) from error
    held = {**step.weights, **step.learning.held}
    seconds = {phase: machine.seconds(count) for phase, count in step.phases.items()} if machine else {}
    basis = machine.basis if machine else ""
    return Estimate(held, memory(step), seconds, basis, step.uncounted, step.batch)


def memory(step: StepCount) -> dict[str, int]:
    """Return the most bytes at once in each phase.

    An update makes gradients anew, which its count has; the gradients of the last update stay until then.
    """
    held = sum(step.weights.values()) + sum(step.learning.held.values())
    media = step.audio * step.batch
    peaks = {"sampling": step.sampling.peak, "decoding": step.decoding.peak, "encoding": media + step.encoding.peak}
    found = {phase: held + peak for phase, peak in peaks.items()}
    found["learning"] = held - step.learning.held[GRADIENTS] + step.learning.step.peak
    return found


def capacity(device: torch.device) -> int | None:
    """Return the bytes of a device's memory, for the CPU the machine's; None where torch does not tell."""
    if device.type == "cpu":
        return host_memory()[1]
    memory = device_memory(device)
    return memory.total if memory else None
