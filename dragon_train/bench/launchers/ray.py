"""A launcher on a Ray cluster, of one machine or many: Ray places the runs, and their files travel through its store.

A cluster is trusted: whoever reaches its ports runs code there, and what it sends back is unpickled here.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from logging import WARNING
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError, DragonError
from dragon_train.bench.launchers.base import Resources, Task, check_inputs, named, prepare_worker
from dragon_train.bench.launchers.transfer import Outbox, packing, unpack, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RETRIES = 3  # Ray's own default
LOOK = 2.0  # seconds between looks at what a run has written


@dataclass(frozen=True)
class Attempt:
    """A task, and how many of its workers have died."""

    task: Task
    losses: int = 0


class RayLauncher:
    """A launcher on a Ray cluster: one Ray task for each run, with as many threads as it has CPUs.

    The cluster is the one at RAY_ADDRESS, or else one that runs on this machine, or else a fresh one of this machine.
    Runs work in temporary folders; what they write comes back while they go on. A run whose worker dies goes on from
    there on another worker. Variables DRAGON_* of this process hold for the workers; plugins must be installed there,
    and weights and exemplar sets of your own be at the same places.

    Args:
        workers: runs at a time at most; None takes as many as the cluster has room for.
        resources: of each run.
        device: None, as Ray gives each run its device.

    Raises:
        ConfigError: a device is named.
        DragonError: ray is not installed.
    """

    def __init__(self, workers: int | None, resources: Resources, device: str | None) -> None:
        if device:
            raise ConfigError("launcher ray places runs by --gpus, each on what it is given; leave --device out")
        if find_spec("ray") is None:
            raise DragonError("launcher ray: needs ray; pip install 'dragon-rewards[ray]'")
        self.workers, self.resources = workers, resources

    def run(self, tasks: Sequence[Task], on_tick: Callable[[], None]) -> None:
        """Start the tasks in their order and return when all are done, as `Launcher.run` describes.

        Raises:
            DragonError: also where a node has another version of what computes, or none has the resources of a run.
        """
        check_inputs(tasks)
        if not tasks:
            return
        with cluster():
            places(self.resources)
            check_nodes()
            Session(self.resources, self.workers).finish(tasks, on_tick)


class Session:
    """The runs that are waiting and under way on a cluster, from its connection to the last result."""

    def __init__(self, resources: Resources, workers: int | None) -> None:
        import ray

        self.resources, self.workers = resources, workers
        # Ray would start a dead worker's task again from what the folder held at first; a second start from here takes
        # what came back since. And Ray wants a stream to be the same in every attempt.
        self.remote = ray.remote(num_returns="streaming", max_retries=0, **wanted(resources))(work)
        self.waiting: deque[Attempt] = deque()
        self.running: dict[Any, Attempt] = {}
        self.inputs: dict[Path, Any] = {}
        self.failure: BaseException | None = None

    def finish(self, tasks: Sequence[Task], on_tick: Callable[[], None]) -> None:
        """Run all tasks on the cluster, and raise the first failure once no run is under way."""
        import ray

        self.waiting.extend(map(Attempt, tasks))
        while self.waiting or self.running:
            room = min(places(self.resources), self.workers or len(tasks))
            while self.waiting and len(self.running) < room:
                self.start(self.waiting.popleft())
            ready, _ = ray.wait(list(self.running), timeout=1.0)
            on_tick()
            for stream in ready:
                self.receive(stream)
        if self.failure:
            raise self.failure

    def start(self, attempt: Attempt) -> None:
        """Send a task with its files; a file that several tasks read is stored once."""
        import ray

        folder, sources = packing(attempt.task)
        inputs = {place: path for place, path in sources.items() if not place.is_relative_to(folder)}
        for path in set(inputs.values()) - self.inputs.keys():
            self.inputs[path] = ray.put(path.read_bytes())
        contents = {place: self.inputs.get(path) or ray.put(path.read_bytes()) for place, path in sources.items()}
        task = replace(attempt.task, folder=folder, inputs=())
        self.running[self.remote.remote(task, contents, max(1, int(self.resources.cpus)))] = attempt

    def receive(self, stream: Any) -> None:
        """Write a file that came from a run, or note how the run ended.

        Args:
            stream: the results of one run, of which one is ready.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        task = self.running[stream].task
        try:
            name, content = ray.get(next(stream))
            write(task.folder / name, content)
        except StopIteration:
            del self.running[stream]
        except RayTaskError as error:
            del self.running[stream]
            self.fail(named(task, error.cause), error)
        except RayError as error:
            self.lose(self.running.pop(stream), error)

    def lose(self, attempt: Attempt, error: BaseException) -> None:
        """Start again, before all others, a task whose worker died; it fails once it has lost too many workers."""
        if attempt.losses < RETRIES and not self.failure:
            self.waiting.appendleft(replace(attempt, losses=attempt.losses + 1))
            return
        self.fail(
            DragonError(
                f"{attempt.task.folder}: {attempt.losses + 1} workers died of it, perhaps for memory; the same command "
                f"resumes, perhaps with more memory for a run ({error})"
            ),
            error,
        )

    def fail(self, failure: BaseException, cause: BaseException) -> None:
        """Keep the first failure, with its cause, and start nothing more."""
        failure.__cause__ = cause  # has the traceback of the worker
        self.failure = self.failure or failure
        self.waiting.clear()


@contextmanager
def cluster() -> Iterator[None]:
    """Connect to Ray inside the block; what is left of the runs ends with the connection.

    Raises:
        DragonError: nothing answers where a cluster should be.
    """
    import ray

    variables = {name: value for name, value in os.environ.items() if name.startswith("DRAGON_")}
    # Ray hides GPUs from a task without any only where it is told so.
    variables["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "1"
    try:
        reach(os.environ.get("RAY_ADDRESS", ""))
        ray.init(
            include_dashboard=False, logging_level=WARNING, log_to_driver=False, runtime_env={"env_vars": variables}
        )
    except OSError as error:
        raise DragonError(
            f"no Ray cluster answers at RAY_ADDRESS={os.environ.get('RAY_ADDRESS')} ({error}); start one there "
            "(ray start --head), or unset RAY_ADDRESS for a fresh one of this machine"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Connect to host:port once, if an address is given, to find out at once what Ray itself waits minutes for.

    Raises:
        OSError: nothing answers.
    """
    host, _, port = address.rpartition(":")
    if host:
        create_connection((host.strip("[]"), port), timeout=10).close()


def wanted(resources: Resources) -> dict[str, Any]:
    """Return the resources of a run as options of a Ray task."""
    memory = {} if resources.memory is None else {"memory": resources.memory * 2**30}
    return {"num_cpus": resources.cpus, "num_gpus": resources.gpus, **memory}


def nodes() -> list[dict[str, Any]]:
    """Return what Ray says of each node of the cluster that is alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def places(resources: Resources) -> int:
    """Return how many runs the cluster takes at a time, which changes as it grows.

    Raises:
        DragonError: it takes none.
    """
    need = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory or 0) * 2**30}
    room = [min(int(node["Resources"].get(kind, 0) / n) for kind, n in need.items() if n) for node in nodes()]
    if not any(room):
        raise DragonError(f"no node of the Ray cluster has {resources}; give a run less, or start a larger node")
    return sum(room)


def installed() -> dict[str, str]:
    """Return the versions of what computes here: this project, its plugins, and torch.

    Builds of torch for GPUs and for CPUs count as the same version.
    """
    from dragon_rewards import load_registry
    from dragon_train.registry import load_train_registry

    plugins = {
        plugin.package for plugin in (*load_registry().plugins, *load_train_registry().plugins) if plugin.version
    }
    return {package: metadata.version(package).split("+")[0] for package in {"dragon-rewards", "torch", *plugins}}


def check_nodes() -> None:
    """Refuse a cluster where a run would compute something else than here.

    Raises:
        DragonError: a node lacks something that is installed here, or has another version.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe, answers = ray.remote(num_cpus=0)(installed), {}
    for node in nodes():
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[node["NodeManagerAddress"], node["NodeID"]] = probe.options(scheduling_strategy=strategy).remote()
    for (address, _), answer in answers.items():
        try:
            compare(address, ray.get(answer))
        except ray.exceptions.RayError as error:
            reason = str(error).splitlines()[-1]
            raise DragonError(
                f"Ray node {address} cannot run dragon_train; install dragon-rewards there ({reason})"
            ) from None


def compare(address: str, theirs: dict[str, str]) -> None:
    """Refuse a node whose versions differ from the ones of this machine.

    Args:
        address: of the node, for the message.
        theirs: what `installed` returns there.

    Raises:
        DragonError: a package is missing there, or has another version.
    """
    for package, version in installed().items():
        if theirs.get(package) != version:
            raise DragonError(
                f"Ray node {address} has {package} {theirs.get(package, 'not installed')}, and this machine {version}; "
                "install the same on all, with the same constraints.txt"
            )


def work(task: Task, contents: Mapping[Path, Any], threads: int) -> Iterator[tuple[str, bytes | None]]:
    """Run a task on a worker, in a temporary folder, and yield each file that it writes or removes.

    Args:
        task: with its folder relative to the temporary one.
        contents: what its files hold at first, by their place below the temporary folder, as references of Ray.
        threads: of torch.

    Yields:
        The path of a file relative to the task's folder, and its content; None for a file that was removed.
    """
    import ray

    with (
        TemporaryDirectory(prefix="dragon-") as root,
        ThreadPoolExecutor(1, "run", prepare_worker, (threads,)) as thread,
    ):
        unpack(Path(root), dict(zip(contents, ray.get(list(contents.values())), strict=True)))
        folder = Path(root) / task.folder
        outbox = Outbox(folder)
        run = thread.submit(task.function, folder, *task.arguments, None)
        while not wait([run], LOOK).done:
            yield from outbox.changes()
        yield from outbox.changes(final=True)
        run.result()
