"""The interface of launchers: the tasks that they start, and the resources that a task may use."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from dragon_rewards.errors import ConfigError, DragonError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Task:
    """One run: `function(folder, *arguments, device)`, which writes its results under `folder`.

    The function is at the top level of a module, so that a task can be pickled. The launcher names the device; None is
    the default of the machine where the run takes place. On another machine, `folder` is a copy elsewhere, which begins
    with what the folder holds here: a run that was interrupted goes on there.

    Attributes:
        function: finds what it reads by the folder that it is given, for other paths may not exist where it runs.
        folder: of this task alone.
        arguments: of the function, between the folder and the device.
        inputs: files that earlier tasks have made and this one reads. They keep their place relative to the folder.
    """

    function: Callable[..., None]
    folder: Path
    arguments: tuple[Any, ...] = ()
    inputs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Resources:
    """The resources of one run, for launchers that place runs.

    Attributes:
        cpus: CPUs.
        gpus: GPUs; a fraction lets several runs share one.
        memory: GiB of main memory; None reserves none.

    Raises:
        ConfigError: one of them is out of range.
    """

    cpus: float = 1
    gpus: float = 0
    memory: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.cpus < inf:
            raise ConfigError(f"cpus = {self.cpus}: a run takes some; give a number above 0")
        if not 0 <= self.gpus < inf:
            raise ConfigError(f"gpus = {self.gpus}: give 0 or more")
        if self.memory is not None and not 0 < self.memory < inf:
            raise ConfigError(f"memory = {self.memory}: give GiB above 0, or nothing")


class Launcher(Protocol):
    """A way to run many tasks, several at a time."""

    def run(self, tasks: Sequence[Task], on_tick: Callable[[], None]) -> None:
        """Start the tasks in their order and return when all are done.

        After a failure, tasks under way finish and are kept, and no other starts.

        Args:
            tasks: what is run, each independent of the others.
            on_tick: is called about once a second.

        Raises:
            DragonError: an input is missing; a process was killed; a task was refused, with the task's folder.
            Exception: whatever else a task raised, with a note of the task's folder.
        """
        ...


def check_inputs(tasks: Sequence[Task]) -> None:
    """Refuse, before any task starts, a task that reads a file that is not there.

    Raises:
        DragonError: an input is missing.
    """
    for task in tasks:
        for path in task.inputs:
            if not path.is_file():
                raise DragonError(f"{task.folder}: its input {path} is not there; finish the run that makes it first")


def named(task: Task, error: BaseException) -> BaseException:
    """Return the error of a task with the folder of the task added to what it says."""
    if isinstance(error, DragonError):
        return DragonError(f"{task.folder}: {error}")
    error.add_note(f"in the run {task.folder}")
    return error


def prepare_worker(threads: int) -> None:
    """Make torch compute in so many threads in this worker, whatever other workers do."""
    import torch

    torch.set_num_threads(threads)
