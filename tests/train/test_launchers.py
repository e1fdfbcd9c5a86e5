"""Runs in local processes and on a real Ray cluster of two nodes: the same files, whichever launcher."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.clusters import two_nodes

from dragon_rewards import compose
from dragon_rewards.errors import ConfigError, DeviceError, DragonError, UnknownNameError
from dragon_rewards.storage.locks import LOCK
from dragon_train.bench.launchers import Resources, Task, make_launcher
from dragon_train.bench.launchers.local import LocalLauncher
from dragon_train.bench.launchers.ray import compare, installed
from dragon_train.config import TrainConfig
from dragon_train.embedded.pipeline import load_policy
from dragon_train.loop.loop import train
from dragon_train.loop.run_folder import FINAL_CHECKPOINT, METRICS
from dragon_train.objectives.configured import make_objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow

CONFIG = TrainConfig("vendi:logmel", steps=2, prompts_per_step=2, epochs=1, demonstration_steps=2)
BOTH = pytest.mark.parametrize("name", ["local", "ray"])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with two_nodes():
        yield


def nothing() -> None:
    """For runs whose progress is not looked at."""


def tune(folder: Path, seed: int, told: Path, _device: str | None) -> None:
    """A real tuning run on prompts that an earlier run has made; tells which node it ran on."""
    prompts = (folder.parent / "earlier" / "prompts.txt").read_text().splitlines()
    config = replace(CONFIG, seed=seed)
    told.write_text(node())
    train(config, load_policy(), compose(config.reward), make_objective(config), prompts, folder, lambda _: None)


def node() -> str:
    """Where this runs."""
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else "here"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of some runs, but those that tell how long steps took, or who is at work."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if path.name not in {METRICS, FINAL_CHECKPOINT, LOCK}
    }


def test_two_nodes_tune_what_local_processes_tune(tmp_path: Path) -> None:
    for name in ("local", "ray"):
        prompts = tmp_path / name / "earlier" / "prompts.txt"
        prompts.parent.mkdir(parents=True)
        prompts.write_text("a slow hymn\na fast jig\na sad waltz\n")
        runs = [
            Task(tune, tmp_path / name / str(seed), (seed, tmp_path / f"{name}{seed}"), (prompts,)) for seed in (1, 2)
        ]
        make_launcher(name, 2).run(runs, nothing)
        assert all((run.folder / METRICS).is_file() for run in runs)
    local, ray = contents(tmp_path / "local"), contents(tmp_path / "ray")
    assert local.keys() == ray.keys()
    assert len(local) >= 5  # the prompts; of each run at least configuration and adapters
    assert [key for key in local if local[key] != ray[key]] == []
    assert (tmp_path / "local1").read_text() == "here"
    assert (tmp_path / "ray1").read_text() != (tmp_path / "ray2").read_text()


def die_once(folder: Path, seen: Path, _device: str | None) -> None:
    """Die as soon as the head has the first file; the second try finds it."""
    if (folder / "begun").exists():
        (folder / "end").write_text("resumed")
        (folder / "begun").unlink()
        return
    folder.mkdir(exist_ok=True)
    (folder / "begun").write_text("first try")
    wait_for(seen)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(path)


def test_a_run_whose_worker_was_killed_goes_on_from_what_came_back(tmp_path: Path) -> None:
    folder, seen = tmp_path / "run", tmp_path / "seen"

    def tell() -> None:
        if (folder / "begun").exists():
            seen.touch()

    make_launcher("ray", 1).run([Task(die_once, folder, (seen,))], tell)
    assert contents(folder) == {"end": b"resumed"}


def test_a_local_worker_that_was_killed_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "seen").touch()
    with pytest.raises(DragonError, match="killed, perhaps for memory; the same command resumes"):
        make_launcher("local", 1).run([Task(die_once, tmp_path / "run", (tmp_path / "seen",))], nothing)


def say(folder: Path, text: str, _device: str | None) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "said").write_text(text)


def refuse(folder: Path, device: str | None) -> None:
    say(folder, "before", device)
    raise UnknownNameError("reward", "fda", ["fad"])


def fail(folder: Path, device: str | None) -> None:
    say(folder, "before", device)
    raise ZeroDivisionError


@BOTH
def test_a_refusal_names_its_run_keeps_what_is_done_and_starts_nothing_more(name: str, tmp_path: Path) -> None:
    tasks = [Task(say, tmp_path / "a", ("done",)), Task(refuse, tmp_path / "b"), Task(say, tmp_path / "c", ("never",))]
    with pytest.raises(DragonError, match=r"/b: unknown reward 'fda'; did you mean fad"):
        make_launcher(name, 1).run(tasks, nothing)
    assert contents(tmp_path) == {"a/said": b"done", "b/said": b"before"}


@BOTH
def test_a_bug_keeps_its_type_and_runs_under_way_finish(name: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        make_launcher(name, 2).run([Task(fail, tmp_path / "a"), Task(say, tmp_path / "b", ("done",))], nothing)
    assert caught.value.__notes__ == [f"in the run {tmp_path / 'a'}"]
    assert "in fail" in str(caught.value.__cause__), "the worker's traceback is lost"
    assert contents(tmp_path) == {"a/said": b"before", "b/said": b"done"}


@BOTH
def test_an_input_that_is_not_there_is_refused_before_anything_starts(name: str, tmp_path: Path) -> None:
    tasks = [Task(say, tmp_path / "a", ("never",)), Task(say, tmp_path / "b", ("never",), (tmp_path / "none",))]
    with pytest.raises(DragonError, match=r"/b: its input .*/none is not there"):
        make_launcher(name, 1).run(tasks, nothing)
    assert not contents(tmp_path)


def test_resources_that_no_node_has_are_refused(tmp_path: Path) -> None:
    for resources in (Resources(gpus=2), Resources(cpus=2), Resources(memory=1e6)):
        with pytest.raises(DragonError, match=r"no node of the Ray cluster has Resources\("):
            make_launcher("ray", 1, resources).run([Task(say, tmp_path / "a", ("never",))], nothing)


def see(folder: Path, _device: str | None) -> None:
    """Tell which GPUs this run may use."""
    folder.mkdir(exist_ok=True)
    (folder / "gpus.txt").write_text(os.environ["CUDA_VISIBLE_DEVICES"])


def test_a_run_sees_the_gpu_that_it_was_given_and_no_other(tmp_path: Path) -> None:
    for gpus, visible in ((1, "0"), (0, "")):
        folder = tmp_path / f"{gpus}"
        make_launcher("ray", 1, Resources(gpus=gpus)).run([Task(see, folder)], nothing)
        assert (folder / "gpus.txt").read_text() == visible


def note(folder: Path, device: str | None) -> None:
    """Tell which device this run is to compute on."""
    folder.mkdir(exist_ok=True)
    (folder / "device").write_text(str(device))


def test_a_run_is_told_its_device(tmp_path: Path) -> None:
    make_launcher("local", 2, device="cpu").run([Task(note, tmp_path / name) for name in "ab"], nothing)
    make_launcher("ray", 1).run([Task(note, tmp_path / "ray")], nothing)
    assert contents(tmp_path) == {"a/device": b"cpu", "b/device": b"cpu", "ray/device": b"None"}


def test_runs_go_to_the_device_with_the_fewest() -> None:
    launcher = LocalLauncher(None, Resources(), None)
    launcher.devices = ["cuda:0", "cuda:1"]
    assert launcher.free([]) == "cuda:0"
    assert launcher.free(["cuda:0"]) == "cuda:1"
    assert launcher.free(["cuda:0", "cuda:1", "cuda:0"]) == "cuda:1"


def test_a_node_with_other_versions_is_refused() -> None:
    compare("10.0.0.7", installed())
    with pytest.raises(
        DragonError, match=r"10\.0\.0\.7 has torch 2\.0, and this machine 2\.\d+\.\d+; install the same"
    ):
        compare("10.0.0.7", {**installed(), "torch": "2.0"})
    with pytest.raises(DragonError, match="has torch not installed"):
        compare("10.0.0.7", {"dragon-rewards": installed()["dragon-rewards"]})


def test_a_cluster_that_does_not_answer_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")  # discard: nobody listens
    with pytest.raises(DragonError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:9 \("):
        make_launcher("ray", 1).run([Task(say, tmp_path / "a", ("never",))], nothing)


MISTAKES: list[tuple[Callable[[], object], type[DragonError], str]] = [
    (lambda: make_launcher("slurm", 1), DragonError, "unknown launcher 'slurm'; did you mean local or ray"),
    (lambda: make_launcher("local", 1, Resources(gpus=1)), ConfigError, "local does not place .*gpus=1"),
    (lambda: make_launcher("local", 1, device="cuda:99"), DeviceError, "'cuda:99' is not on this machine; choose one"),
    (lambda: make_launcher("ray", 1, device="cpu"), ConfigError, "ray places runs by --gpus.*leave --device out"),
    (lambda: Resources(cpus=0), ConfigError, "cpus = 0"),
    (lambda: Resources(gpus=-1), ConfigError, "gpus = -1"),
    (lambda: Resources(memory=0), ConfigError, "memory = 0"),
    (lambda: Resources(cpus=float("nan")), ConfigError, "cpus = nan"),
    (lambda: Resources(gpus=float("inf")), ConfigError, "gpus = inf"),
    (lambda: Resources(memory=float("inf")), ConfigError, "memory = inf"),
]


@pytest.mark.parametrize(("make", "error", "message"), MISTAKES)
def test_mistakes_are_refused(make: Callable[[], object], error: type[DragonError], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DragonError, match=r"pip install 'dragon-rewards\[ray\]'"):
        make_launcher("ray", 1)
