"""Runs in processes of this machine."""

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
    """A pool of processes with one thread each, so that results do not depend on how many there are.

    They compute on the device that is named, or else on all accelerators of this machine, each run on the one that has
    the fewest: by default as many runs at a time as there are accelerators, or cores without one.
    """

    def __init__(self, workers: int | None, resources: Resources, device: str | None) -> None:
        if resources != Resources():
            raise ConfigError(f"launcher local does not place {resources}; launcher ray does, on one machine, too")
        from dragon_rewards.compute.devices import spread  # torch, which to refuse takes none of

        self.devices = [str(each) for each in spread(device)]
        self.workers = workers or (os.cpu_count() or 1 if self.devices == ["cpu"] else len(self.devices))

    def run(self, tasks: Sequence[Task], on_tick: Callable[[], None]) -> None:
        """See `Launcher`."""
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
        """Run the tasks in the pools of their devices."""
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
        """Processes, started as they are needed, for runs on one device: what one holds there it keeps."""
        return ProcessPoolExecutor(self.workers, get_context("spawn"), prepare_process)

    def free(self, used: Sequence[str]) -> str:
        """The device with the fewest runs."""
        return min(self.devices, key=used.count)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these for the processes that start inside."""
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
    """One thread; a signal, or its parent, ends it at once and silently, since every finished step is on disk."""
    end_with_parent()
    prepare_worker(threads=1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def perform(task: Task, device: str) -> None:
    """Run a task in this process, which holds its folder even when the one that started it has ended."""
    with locked(task.folder, wait=PATIENCE):
        task.function(task.folder, *task.arguments, device)


def raise_failure(future: Future[None], task: Task) -> None:
    """The error of a task that failed, to be understood without the process that it came from."""
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise DragonError(
            "a worker process was killed, perhaps for memory; the same command resumes, perhaps with fewer --workers"
        )
    if error:
        raise named(task, error)
