"""A launcher that runs tasks in processes of this machine."""

from __future__ import annotations

import os
import signal
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children, get_context
from typing import TYPE_CHECKING

from dragon_rewards.errors import ConfigError, DragonError
from dragon_rewards.storage.locks import locked
from dragon_train.bench.launchers.base import Resources, Task, check_inputs, named, prepare_worker
from dragon_train.loop.lifeline import end_children, end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


PATIENCE = 10.0  # seconds: one that lost its parent has ended by then
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as Ray sets them: sums round alike


class LocalLauncher:
    """A launcher on this machine: processes of one thread each, so that results do not depend on how many there are.

    They compute on the device that is named, or else on all accelerators of this machine, each run on the one that has
    the fewest: by default as many runs at a time as there are accelerators, or cores without one.

    Args:
        workers: runs at a time at most; None for the default.
        resources: the default alone, as this launcher does not place runs.
        device: of all runs; None spreads them.

    Raises:
        ConfigError: there are resources.
        DeviceError: torch has no such device here.
    """

    def __init__(self, workers: int | None, resources: Resources, device: str | None) -> None:
        if resources != Resources():
            raise ConfigError(f"launcher local does not place {resources}; launcher ray does, on one machine, too")
        from dragon_rewards.compute.devices import spread  # torch, which to refuse takes none of

        self.devices = [str(each) for each in spread(device)]
        self.workers = workers or (os.cpu_count() or 1 if self.devices == ["cpu"] else len(self.devices))

    def run(self, tasks: Sequence[Task], on_tick: Callable[[], None]) -> None:
        """Start the tasks in their order and return when all are done, as `Launcher.run` describes.

        Ctrl-C ends the processes of the runs under way.
        """
        check_inputs(tasks)
        others = active_children()
        with environment(ONE_THREAD), ExitStack() as stack:
            pools = {device: stack.enter_context(self.pool()) for device in self.devices}
            try:
                self.finish(tasks, pools, on_tick)
            except KeyboardInterrupt:  # runs under way would be waited for
                end_children(spared=others)
                raise

    def finish(
        self, tasks: Sequence[Task], pools: Mapping[str, ProcessPoolExecutor], on_tick: Callable[[], None]
    ) -> None:
        """Run the tasks in the pools of their devices until all are done or one has failed.

        Raises:
            DragonError: a process was killed, or a task was refused.
            Exception: whatever else a task raised.
        """
        waiting, running = deque(tasks), dict[Future[None], tuple[Task, str]]()
        while waiting or running:
            while waiting and len(running) < self.workers:  # the pool would start what waits in its queue, too
                task, device = waiting.popleft(), self.free([used for _, used in running.values()])
                running[pools[device].submit(perform, task, device)] = task, device
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            on_tick()
            for future in done:
                raise_failure(future, running.pop(future)[0])

    def pool(self) -> ProcessPoolExecutor:
        """Make a pool of processes for runs on one device, started when needed; each keeps what it holds there."""
        return ProcessPoolExecutor(self.workers, get_context("spawn"), prepare_process)

    def free(self, used: Sequence[str]) -> str:
        """Return the device on which the fewest runs are under way."""
        return min(self.devices, key=used.count)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that start inside the block, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def prepare_process() -> None:
    """Give this process one thread, and let it end with its parent or at a signal, at once and silently.

    Nothing is lost by it, as every finished step is on disk.
    """
    end_with_parent()
    prepare_worker(threads=1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def perform(task: Task, device: str) -> None:
    """Run a task in this process, which holds the task's folder even when the process that started it has ended."""
    with locked(task.folder, wait=PATIENCE):
        task.function(task.folder, *task.arguments, device)


def raise_failure(future: Future[None], task: Task) -> None:
    """Raise the error of a task that failed, so that it is understood without the process that it came from.

    Raises:
        DragonError: the process was killed, or the task was refused.
        Exception: whatever else the task raised.
    """
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise DragonError(
            "a worker process was killed, perhaps for memory; the same command resumes, perhaps with fewer --workers"
        )
    if error:
        raise named(task, error)
