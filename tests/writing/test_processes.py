"""Processes end with their parent, SIGTERM stops as Ctrl-C does, and a folder is held while anything writes to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import PATIENCE, begun, ended, is_alive, is_group, wait_until

from dragon_rewards.errors import ConfigError
from dragon_rewards.storage.locks import locked
from dragon_train.loop.run import load_checkpoint

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BENCH = """
import sys
from pathlib import Path
from dragon_train.cli.exits import heed_signals
from dragon_rewards.storage.locks import locked
from dragon_train.bench.launchers import Task, make_launcher
from writing.test_processes import work
if __name__ == "__main__":
    heed_signals()
    out = Path(sys.argv[1])
    with locked(out):
        make_launcher("local", 2, device="cpu").run([Task(work, out / name) for name in "ab"], lambda: None)
"""
FAREWELL = """
import time
from dragon_train.cli.exits import heed_signals
heed_signals()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("stopping", flush=True)
    time.sleep(60)
"""
RUN = ("train", "--reward", "vendi:logmel", "--steps", 40, "--prompts-per-step", 2, "--demonstration-steps", 2)


def work(folder: Path, _device: str | None) -> None:
    """Write who computes, and compute on."""
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def workers(out: Path) -> list[int]:
    return [int(text) for name in "ab" if (text := read(out / name / "pid"))]


def read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def launched(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process with two workers at work."""
    (tmp_path / "bench.py").write_text(BENCH)
    own = {"PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(tmp_path / "bench.py"), str(tmp_path / "out")]
    parent = subprocess.Popen(command, env=os.environ | own, stderr=subprocess.PIPE)
    wait_until(lambda: len(workers(tmp_path / "out")) == 2 or parent.poll() is not None)
    found = workers(tmp_path / "out")
    assert len(found) == 2, parent.communicate()[1]
    assert all(map(is_alive, found))
    return parent, found


@LINUX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(how: signal.Signals, tmp_path: Path) -> None:
    parent, found = launched(tmp_path)
    with parent:
        for folder in (tmp_path / "out", tmp_path / "out" / "a"):
            with pytest.raises(ConfigError, match="another process is at work"), locked(folder):
                pass
        parent.send_signal(how)
        said = parent.communicate(timeout=PATIENCE)[1].decode()
    wait_until(lambda: not any(map(is_alive, found)))
    last = {signal.SIGKILL: "", signal.SIGTERM: "Terminated", signal.SIGINT: "KeyboardInterrupt"}[how]
    assert (how is signal.SIGKILL and parent.returncode == -9) or last in said.splitlines()[-1]
    with locked(tmp_path / "out"), locked(tmp_path / "out" / "a"), locked(tmp_path / "out" / "b"):
        pass


@LINUX
def test_without_the_system_s_help_the_pipe_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\nreal = ctypes.CDLL\n"
        "class Library:\n    def prctl(self, *_): return 0\n"
        "ctypes.CDLL = lambda name=None, *rest, **more: Library() if name is None else real(name, *rest, **more)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    parent, found = launched(tmp_path)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(map(is_alive, found)))


def test_sigterm_stops_a_run_which_goes_on_where_it_was(tmp_path: Path) -> None:
    run = begun(*RUN, "--out", tmp_path / "run", cwd=tmp_path)
    wait_until(lambda: len(read(tmp_path / "run" / "metrics.csv").splitlines()) > 2 or run.poll() is not None)
    run.terminate()
    code, out, err = ended(run)
    assert (code, out) == (128 + signal.SIGTERM, "")
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.endswith(".part")] == []
    kept = len(load_checkpoint(tmp_path / "run" / "checkpoint.pt").rows)
    assert kept >= 2
    assert f"stopped; steps 1 to {kept} are kept in {tmp_path / 'run'}; the same command goes on from there" in err
    again = begun(*RUN, "--out", tmp_path / "run", cwd=tmp_path)
    wait_until(lambda: len(read(tmp_path / "run" / "metrics.csv").splitlines()) > kept + 1 or again.poll() is not None)
    again.send_signal(signal.SIGINT)
    assert ended(again)[0] == 130
    steps = [line.partition(",")[0] for line in read(tmp_path / "run" / "metrics.csv").splitlines()[1:]]
    assert steps == [str(step) for step in range(1, len(steps) + 1)]


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_what_the_first_was_to_stop(second: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", FAREWELL], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(second)
        assert process.wait(timeout=30) == -second


@LINUX
def test_ctrl_c_stops_a_benchmark_and_its_workers(tmp_path: Path) -> None:
    """A terminal sends it to all processes of the command."""
    preset = "heldout_prompts = 4\ninference_steps = 2\nsubset_size = 2\nrounds = 2\n"
    (tmp_path / "least.toml").write_text(
        f"{preset}[train]\nsteps = 400\nprompts_per_step = 2\ndemonstration_steps = 2\n"
    )
    out = tmp_path / "out"
    options = ("bench", "--preset", "least.toml", "--rewards", "vendi:clap", "--workers", 2, "--out", out)
    bench = begun(*options, cwd=tmp_path, alone=True)
    wait_until(lambda: (out / "vendi+clap" / ".lock").exists() or bench.poll() is not None)
    os.killpg(bench.pid, signal.SIGINT)
    code, printed, err = ended(bench)
    assert (code, printed) == (130, "")
    assert "stopped; finished runs and the finished steps of others are kept; the same command goes on" in err
    wait_until(lambda: not is_group(bench.pid))
