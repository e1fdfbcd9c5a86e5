"""Train in several processes through accelerate: each does its share, and all know everything that counts."""

from __future__ import annotations

import atexit
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import gather_object, parse_flag_from_env
from torch.nn.attention import SDPBackend, sdpa_kernel

from dragon_rewards.compute.devices import ACCELERATORS, CPU, PRECISIONS, default_device
from dragon_rewards.errors import ConfigError, UnknownNameError
from dragon_train.loop.ranks import is_alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

T = TypeVar("T")


class Processes:
    """The processes of a run as one of them sees them; without `accelerate launch` there is only this one.

    Gradients are added up here rather than by a wrapper around the denoiser, as a step calls it as policy and as
    reference, with adapters on and off.

    Attributes:
        device: where this process computes.
        accelerator: accelerate's view of the processes.
        unfused: whether attention in reduced precision is not fused; see `reduced`.
    """

    def __init__(
        self,
        precision: str,
        trackers: Sequence[str] = (),
        folder: Path | None = None,
        device: torch.device | None = None,
        *,
        recomputes: bool = True,
    ) -> None:
        """Take part in a run on `device`; of several processes each has the one that `accelerate launch` gives it.

        `recomputes` says that the backward pass may compute the forward pass again, as gradient checkpointing does. It
        would do so outside of `autocast`, with fused attention, so that attention has to be fused at first, too.
        """
        check_trackers(trackers)
        self.device = process_device(device)
        self.unfused = self.device == CPU and not recomputes
        # An earlier run of this process may have had another precision, and another device.
        AcceleratorState._reset_state(reset_partial_state=is_alone())  # noqa: SLF001
        self.accelerator = Accelerator(
            cpu=self.device.type not in ACCELERATORS,
            device_placement=False,
            mixed_precision=precision,
            log_with=list(trackers) or None,
            project_dir=folder if trackers else None,
        )

    @property
    def size(self) -> int:
        """The number of processes that train together."""
        return int(self.accelerator.num_processes)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self.accelerator.is_main_process)

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which the denoiser computes in the precision of the run.

        There is no cache of cast weights: one that was filled without gradient would be used where gradient is wanted.
        """
        dtype = PRECISIONS.get(self.accelerator.mixed_precision)
        if dtype is None:
            return nullcontext()
        return reduced(self.device.type, dtype, unfused=self.unfused)

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's consecutive part of `items`; the parts of two processes differ by one item at most."""
        bounds = [len(items) * rank // self.size for rank in range(self.size + 1)]
        rank = self.accelerator.process_index
        return items[bounds[rank] : bounds[rank + 1]]

    def gather(self, share: T) -> list[T]:
        """Return what every process has, in the order of the processes, in each of them."""
        if self.size == 1:
            return [share]
        gathered: list[T] = gather_object([share])
        return gathered

    def same(self, value: T) -> T:
        """Return the first process's value, so that rounding cannot make processes choose differently."""
        return self.gather(value)[0]

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, without gradient."""
        summed: Tensor = self.accelerator.reduce(value.detach(), "sum")
        return summed

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message."""
        if self.size == 1:
            return
        learnt = [parameter for parameter in parameters if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learnt]
        flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        for parameter, part in zip(learnt, flat.split([p.numel() for p in learnt]), strict=True):
            parameter.grad = part.view_as(parameter)

    def start_trackers(self, settings: dict[str, Any]) -> None:
        """Tell the trackers the settings of the run."""
        flat = {key: value if isinstance(value, (int, float, str)) else str(value) for key, value in settings.items()}
        self.accelerator.init_trackers("dragon", config=flat)

    def log(self, row: dict[str, float]) -> None:
        """Give the figures of a step to the trackers of the run."""
        self.accelerator.log(row, step=int(row["step"]))

    def close(self) -> None:
        """Let the trackers write what they hold, at the end of a run."""
        self.accelerator.end_training()


@contextmanager
def reduced(device: str, dtype: torch.dtype, *, unfused: bool) -> Iterator[None]:
    """Compute in a reduced precision, with attention fused or not.

    In bfloat16 torch's fused attention takes three to five times as long backward on a CPU as in float32, and unfused
    attention no longer (torch 2.13, 81 tokens of 8 heads of 32).
    """
    attention = sdpa_kernel(SDPBackend.MATH) if unfused else nullcontext()
    with torch.autocast(device, dtype, cache_enabled=False), attention:
        yield


def process_device(device: torch.device | None) -> torch.device:
    """Return where this process computes.

    One process alone computes on `device`, by default an accelerator; each of several computes where accelerate says.
    """
    wanted_cpu = parse_flag_from_env("ACCELERATE_USE_CPU")  # as `accelerate launch --cpu` sets it
    if is_alone():
        return device or (CPU if wanted_cpu else default_device())
    given: torch.device = PartialState(cpu=wanted_cpu or default_device() == CPU).device
    return CPU if given.type == "cpu" else given


@atexit.register
def leave_group() -> None:
    """Leave the group of processes at exit: its threads would outlive the interpreter and end it with an abort."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that accelerate cannot tell anything; it would skip one whose package is missing.

    Raises:
        UnknownNameError: accelerate knows no such tracker.
        ConfigError: the package of a tracker is not installed.
    """
    installed = [str(tracker) for tracker in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UnknownNameError("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name not in installed:
            raise ConfigError(f"trackers: '{name}' is not installed; pip install {name}, or leave it out")
